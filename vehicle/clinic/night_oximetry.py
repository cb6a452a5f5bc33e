"""What a night of oximetry says in numbers: mean, lowest, time below 90 %, falls by 3 and by 4 points. Pure.

- **Recorded** is the whole stretch, **measured** the part of it with a value. Mean, lowest and time below 90 % are of
  that part.
- A **desaturation** by ``points`` (3 or 4): from its highest value of the last 120 s SpO2 falls by so much or more, and
  comes back to one point below that value, or by ``points`` above its lowest, 10 to 90 s after it had left it. So Jung
  et al. 2018, as in Levy et al., npj Digital Medicine 2021;4:1 (doi 10.1038/s41746-020-00373-5). The AASM Manual for
  the Scoring of Sleep and Associated Events (version 3) counts falls of 3 % (rule 1A) or 4 % (rule 1B) from the value
  before the event, and leaves to the scorer what "before" is.
- The **index** (ODI) is desaturations per hour measured. The AASM divides by hours asleep; an oximeter alone knows no
  sleep, and its index is lower for it: median 4.5 per hour of 22.8 (Whenn et al., J Clin Sleep Med 2024;20:709,
  doi 10.5664/jcsm.10982).
- **Short**: less than four hours measured, what the AASM guideline for sleep apnoea testing at home asks for (Kapur et
  al., J Clin Sleep Med 2017;13:479): the numbers are shown, and said to be few.

A hint for the doctor, no diagnosis: motion, cold fingers and nail varnish make falls, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any

from devices.readings import StoredOximetry
from sync.formats.canonical import Json

DEFINITION = "night-oximetry/1"
POINTS = (3, 4)
BASELINE_S = 120.0
SHORTEST_S, LONGEST_S = 10.0, 90.0
BACK_WITHIN_POINTS = 1
HOLE_S = 10.0
"""Without a value for so long, what was before counts no more."""
LOW_PERCENT = 90
ENOUGH_S = 4 * 3600


@dataclass(frozen=True, slots=True)
class NightSummary:
    """The numbers of one stretch; those of SpO2 are None when nothing was measured."""

    recorded_s: int
    measured_s: int
    below_90_s: int
    desaturations_3: int
    desaturations_4: int
    lowest_spo2_percent: int | None = None
    mean_spo2_percent_e1: int | None = None
    lowest_pulse_bpm: int | None = None
    highest_pulse_bpm: int | None = None

    @property
    def odi_3(self) -> float | None:
        """Falls by three points and more per hour measured; None under a minute."""
        return _per_hour(self.desaturations_3, self.measured_s)

    @property
    def odi_4(self) -> float | None:
        return _per_hour(self.desaturations_4, self.measured_s)

    @property
    def below_90_percent(self) -> float | None:
        """Of the time measured."""
        return 100 * self.below_90_s / self.measured_s if self.measured_s else None

    @property
    def short(self) -> bool:
        return self.measured_s < ENOUGH_S

    def told(self) -> dict[str, Json]:
        """As it stands in the record: whole numbers, and by which definition; what was not measured is left out."""
        numbers = {name: number for name, number in asdict(self).items() if number is not None}
        return numbers | {"definition": DEFINITION}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> NightSummary:
        """What ``told`` gave; what a later definition added is left out."""
        return cls(**{each.name: told[each.name] for each in fields(cls) if each.name in told})


def _per_hour(n: int, measured_s: int) -> float | None:
    return n * 3600 / measured_s if measured_s >= 60 else None


def summary(stored: StoredOximetry) -> NightSummary:
    spo2 = [value for value in stored.spo2_percent if value is not None]
    pulse = [value for value in stored.pulse_bpm if value is not None]
    by_3, by_4 = (len(desaturations(stored, points)) for points in POINTS)
    return NightSummary(
        recorded_s=round(stored.duration_s),
        measured_s=round(len(spo2) * stored.interval_s),
        below_90_s=round(sum(value < LOW_PERCENT for value in spo2) * stored.interval_s),
        desaturations_3=by_3,
        desaturations_4=by_4,
        lowest_spo2_percent=min(spo2, default=None),
        mean_spo2_percent_e1=round(10 * sum(spo2) / len(spo2)) if spo2 else None,
        lowest_pulse_bpm=min(pulse, default=None),
        highest_pulse_bpm=max(pulse, default=None),
    )


@dataclass(frozen=True, slots=True)
class Desaturation:
    """``began_s`` since the start of the stretch: where SpO2 left the highest value before."""

    began_s: float
    duration_s: float
    from_percent: int
    lowest_percent: int


def desaturations(stored: StoredOximetry, points: int) -> list[Desaturation]:
    """Falls by ``points`` or more, oldest first; see the module."""
    found: list[Desaturation] = []
    before: deque[tuple[float, int]] = deque()
    fall: _Fall | None = None
    last_s = 0.0
    for i, value in enumerate(stored.spo2_percent):
        if value is None:
            continue
        now_s = i * stored.interval_s
        if now_s - last_s > HOLE_S:
            before.clear()
            fall = None
        last_s = now_s
        if fall is None:
            fall = _fall_from(before, now_s, value, points)
            before.append((now_s, value))
        else:
            fall.lowest_percent = min(fall.lowest_percent, value)
            if fall.is_over(now_s, value, points):
                duration_s = now_s - fall.began_s
                if SHORTEST_S <= duration_s <= LONGEST_S:
                    found.append(Desaturation(fall.began_s, duration_s, fall.from_percent, fall.lowest_percent))
                fall = None
                before = deque([(now_s, value)])
    return found


@dataclass(slots=True)
class _Fall:
    began_s: float
    from_percent: int
    lowest_percent: int

    def is_over(self, now_s: float, value: int, points: int) -> bool:
        back = value >= self.from_percent - BACK_WITHIN_POINTS or value >= self.lowest_percent + points
        return back or now_s - self.began_s > LONGEST_S


def _fall_from(before: deque[tuple[float, int]], now_s: float, value: int, points: int) -> _Fall | None:
    """What begins with this value: a fall from the highest one of the last 120 s, which was left when it last stood."""
    while before and now_s - before[0][0] > BASELINE_S:
        before.popleft()
    highest = max((one for _, one in before), default=value)
    if highest - value < points:
        return None
    left_s = max(at_s for at_s, one in before if one == highest)
    return _Fall(left_s, highest, value)


WIDTH, HEIGHT = 900, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 892, 10, 160
FLOOR_PERCENT, CEILING_PERCENT = 70, 100
GRID_PERCENT = (70, 80, 90, 100)


def svg(stored: StoredOximetry, label: str) -> str:
    """SpO2 over the stretch: for each step of the drawing a stroke from its lowest to its highest value.

    What lies below 70 is drawn at the floor. Like ``vehicle.clinic.trends``: no size of its own, colours by class.

    :param label: what it shows, for those who cannot see it
    """
    n = len(stored.spo2_percent)
    steps = min(n, RIGHT - LEFT)

    def y(percent: float) -> float:
        kept = max(percent, FLOOR_PERCENT)
        return round(BOTTOM - (BOTTOM - TOP) * (kept - FLOOR_PERCENT) / (CEILING_PERCENT - FLOOR_PERCENT), 1)

    strokes = []
    for step in range(steps):
        values = [one for one in stored.spo2_percent[step * n // steps : (step + 1) * n // steps] if one is not None]
        if values:
            x = round(LEFT + (RIGHT - LEFT) * (step + 0.5) / steps, 1)
            strokes.append(f"M{x} {y(max(values) + 0.4)}V{y(min(values) - 0.4)}")
    parts = [f'<path class="grid" d="M{LEFT} {y(percent)}H{RIGHT}"/>' for percent in GRID_PERCENT]
    parts += [
        f'<text x="{LEFT - 6}" y="{y(percent) + 5}" text-anchor="end">{percent}</text>' for percent in GRID_PERCENT
    ]
    parts.append(f'<path class="low" d="M{LEFT} {y(LOW_PERCENT)}H{RIGHT}"/>')
    parts.append(f'<path class="spo2" d="{"".join(strokes)}"/>')
    for hour in range(int(stored.duration_s // 3600) + 1):
        x = round(LEFT + (RIGHT - LEFT) * hour * 3600 / stored.duration_s, 1)
        parts.append(f'<path class="grid" d="M{x} {BOTTOM}v5"/><text x="{x}" y="{HEIGHT - 8}">{hour} h</text>')
    return (
        f'<svg class="night" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
