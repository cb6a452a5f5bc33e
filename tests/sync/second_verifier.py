"""The offline verifier of ``sync.verify_html`` in real Chromium, asked from Python what ``sync.verify`` is asked.

``Verifier`` opens the built file from disk and calls its modules; ``by_us`` says what ``sync.verify`` finds.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync import verify_html
from sync.formats.records import Entry
from sync.proof.areas import Village
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.coverage import Rules
from sync.proof.evidence import NotProven
from sync.proof.presence import Stay
from sync.proof.registry_entries import village_fields
from sync.proof.visit_proof import Bracket, VisitEvidence
from sync.verify.bundle_check import check_bundle
from sync.verify.policy import Policy
from sync.verify.report import bundle_json, fault_json

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

HARNESS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


@dataclass(frozen=True)
class Story:
    """One visit as its verdict takes it: entries of its range, hidden places, villages, bracket, decision."""

    evidence: VisitEvidence
    origin: str
    shown: Sequence[Entry]
    hidden: Sequence[int]
    villages: Sequence[Village]
    bracket: Bracket | None
    decision: str | None = None

    def told(self, rules: Rules) -> dict[str, Any]:
        first, last = self.evidence.first, self.evidence.last
        bracket = self.bracket or Bracket(None, None)
        return {
            "visit": self.evidence.visit,
            "origin": self.origin,
            "entries": [[entry.n, entry.body.decode()] for entry in self.shown if first <= entry.n <= last],
            "hidden": [place for place in self.hidden if first <= place <= last],
            "range": [first, last],
            "areas": [village_fields(village) for village in self.villages],
            "rules": rules.as_json(),
            "bracket": {"known": _ms(bracket.known_at), "sealed": _ms(bracket.sealed_at)},
            "decision": self.decision,
        }


def agree(second: Verifier, data: bytes, policy: bytes, *, codes_too: bool = True) -> dict[str, Any]:
    """Asserts that both find the same, word for word and figure for figure; returns it."""
    ours, theirs = by_us(data, policy), second.check(data, policy)
    assert theirs["result"] == ours["result"], (codes(ours), theirs["faults"])
    if codes_too:
        assert codes(theirs) == codes(ours), theirs["faults"]
    if "visits" in ours and "visits" in theirs:
        assert {name: theirs[name] for name in ours if name != "faults"} == {
            name: said for name, said in ours.items() if name != "faults"
        }
    return ours


class Verifier:
    """The page, opened from disk. Every question is answered by its own modules."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def ask(self, what: str, *given: Any) -> Any:
        return self.page.evaluate("([what, given]) => window.asked[what](...given)", [what, list(given)])

    def check(self, data: bytes, policy: bytes) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("check", base64(data), base64(policy))
        return found

    def judge(self, stories: Sequence[Story], rules: Rules) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("judge", [story.told(rules) for story in stories], rules.as_json())
        return found


@contextmanager
def opened(browser: Any, folder: Path, before: str = "") -> Iterator[Verifier]:
    """The file with its modules in reach, in a browser without a network.

    :param before: run in the page before anything else
    """
    written = folder / "verifier-for-tests.html"
    written.write_bytes(verify_html.build(for_tests=True))
    context = browser.new_context(offline=True)
    if before:
        context.add_init_script(before)
    page = context.new_page()
    page.goto(written.as_uri())
    page.evaluate(HARNESS)
    yield Verifier(page)
    context.close()


def by_us(data: bytes, policy: bytes) -> dict[str, Any]:
    """What ``python -m sync.verify --json`` says."""
    try:
        return bundle_json(check_bundle(data, Policy.parse(policy)))
    except (BundleUnreadable, NotProven) as fault:
        return fault_json("unreadable" if isinstance(fault, BundleUnreadable) else "invalid", fault.code, str(fault))


def codes(report: dict[str, Any]) -> list[str]:
    return [fault["code"] for fault in report["faults"]]


def same_stay(stay: Stay) -> list[Any]:
    """As ``Verifier`` says it."""
    dwell = [round(seconds * 1000) for seconds in (stay.dwell_s, stay.inferred_s)]
    return [stay.village_code, _ms(stay.arrived_at), _ms(stay.left_at), *dwell, sorted(stay.flags)]


def _ms(at: Any) -> int | None:
    return round(at.timestamp() * 1000) if at is not None else None
