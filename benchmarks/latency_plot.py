"""Latency over time as a small SVG: one line for each sender, what the link was, the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 260, 52, 34, 26, 12
COLOURS = {"project": "#0b6e4f", "plain": "#b5452c"}
MOST_POINTS = 300


def plot(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    marks: Sequence[tuple[float, str]],
    seconds: float,
) -> str:
    """An SVG. ``lines``: sender -> (s, ms); the scale ends where the second-highest percent of all values does."""
    values = sorted(ms for line in lines.values() for _, ms in line)
    top_ms = max(200.0, 1.1 * values[int(0.99 * (len(values) - 1))]) if values else 200.0
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at_s: float) -> float:
        return round(LEFT + at_s / seconds * wide, 1)

    def y(ms: float) -> float:
        return round(TOP + high - min(ms, top_ms) / top_ms * high, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{title}</text>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        ms = top_ms * share
        parts.append(f'<path d="M{LEFT} {y(ms)}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(ms) + 4}" text-anchor="end">{ms:.0f} ms</text>')
    for at_s, words in marks:
        parts.append(f'<path d="M{x(at_s)} {TOP}V{TOP + high}" stroke="#888" stroke-dasharray="3 3"/>')
        parts.append(f'<text x="{x(at_s) + 3}" y="{TOP + 11}" fill="#555">{words}</text>')
    for at_s in range(0, int(seconds) + 1, 5 if seconds <= 60 else 60):
        parts.append(f'<text x="{x(at_s)}" y="{HEIGHT - 16}" text-anchor="middle">{at_s} s</text>')
    for place, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, "#333")
        points = " ".join(f"{x(at_s)},{y(ms)}" for at_s, ms in _thinned(line, seconds))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{WIDTH - RIGHT - 60 * (place + 1)}" y="16" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _thinned(line: Sequence[tuple[float, float]], seconds: float) -> list[tuple[float, float]]:
    """The worst of each step, so that no peak disappears."""
    step_s = seconds / MOST_POINTS
    worst: dict[int, tuple[float, float]] = {}
    for at_s, ms in line:
        place = int(at_s / step_s)
        if place not in worst or ms > worst[place][1]:
            worst[place] = (at_s, ms)
    return [worst[place] for place in sorted(worst)]
