"""The live session's link: figures out of the uplink, its rung, and each change once in the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from devices.clock import SimulatedClock
from sync.formats.records import Draft
from sync.record.store import Store
from telemedicine.degradation import FALLS_AFTER_S, RISES_AFTER_S, Rung
from telemedicine.link_sample import from_fields
from telemedicine.session_link import MOST_CHANGES, SessionLink
from tests.vehicle.conftest import MORNING, open_store
from vehicle.link.rung_entries import RungEntries


class Session:
    """An uplink that hears feedback every second, unless it is silent."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(MORNING)
        self.up_bit_s, self.rtt_s, self.lost, self.silent = 3e6, 0.05, 0.0, False
        self.heard = 0.0
        self.link = SessionLink(self.facts, lambda: self.up_bit_s, self.clock)

    def facts(self) -> dict[str, float]:
        if not self.silent:
            self.heard += 1e-6
        return {"rtt_s": self.rtt_s, "lost": self.lost, "jitter_s": 0.002 + self.heard}

    def run(self, seconds: float, consultation: str | None = "c1") -> None:
        for _ in range(round(seconds)):
            self.link.look(consultation)
            self.clock.advance(1)


def test_figures_and_rung_while_a_session_is_live() -> None:
    session = Session()
    session.run(5, consultation=None)
    assert session.link.told() is None
    session.run(5)
    told: Any = session.link.told()
    assert (told["rung"], told["rtt_ms"], told["up_kbit_s"], told["changes"]) == ("live", 50, 3000, [])
    sample = from_fields(told, MORNING, "session")
    assert (sample.rtt_ms, sample.up_bit_s) == (50.0, 3e6)


def test_a_worse_link_changes_the_rung_and_a_better_one_brings_it_back() -> None:
    session = Session()
    session.run(5)
    session.up_bit_s = 250_000
    session.run(FALLS_AFTER_S + 1)
    assert session.link.rung is Rung.STILLS_AUDIO
    session.up_bit_s = 5e6
    session.run(RISES_AFTER_S + 2)
    changes = session.link.told()["changes"]
    assert [(one["before"], one["after"], one["reason"]) for one in changes] == [
        ("live", "stills_audio", "bandwidth"),
        ("stills_audio", "live", "better"),
    ]
    assert changes[0]["figures"]["up_kbit_s"] == 250


def test_ten_seconds_without_feedback_are_silence_and_another_consultation_begins_anew() -> None:
    session = Session()
    session.run(3)
    session.silent = True
    session.run(15)
    assert session.link.rung is Rung.ASYNCHRONOUS
    assert session.link.told()["silent_ms"] > 10_000
    session.silent = False
    session.run(1, consultation="c2")
    assert session.link.rung is Rung.LIVE


def test_when_the_last_connection_is_gone_it_is_silence_too() -> None:
    session = Session()
    session.run(3)
    session.rtt_s = 0.0
    session.run(15)
    assert session.link.rung is Rung.ASYNCHRONOUS
    assert session.link.told()["changes"][0]["reason"] == "silence"


def test_before_anybody_has_connected_there_is_nothing_to_tell() -> None:
    session = Session()
    session.rtt_s = 0.0
    session.run(30)
    assert (session.link.told(), session.link.rung) == (None, Rung.LIVE)


def test_changes_that_nobody_reads_stay_few() -> None:
    session = Session()
    for _ in range(MOST_CHANGES):
        session.up_bit_s = 100_000
        session.run(4)
        session.up_bit_s = 9e6
        session.run(70)
    assert len(session.link.told()["changes"]) == MOST_CHANGES


@pytest.fixture
def store(tmp_path: Path) -> Any:
    opened = open_store(tmp_path / "data", SimulatedClock(MORNING))
    yield opened
    opened.close()


def test_each_change_is_one_entry_also_over_restarts(store: Store) -> None:
    session = Session()
    session.run(3)
    session.up_bit_s = 100_000
    session.run(4)
    told = json.loads(json.dumps(session.link.told()))
    entries = RungEntries(store, store.commit_now)
    entries.take(told)
    entries.take(told)
    RungEntries(store, store.commit_now).take(told)
    (row,) = store.read("SELECT consultation, before, after, reason, figures_json, at FROM consultation_rungs")
    assert (row["consultation"], row["before"], row["after"], row["reason"]) == ("c1", "live", "audio_ecg", "bandwidth")
    assert json.loads(row["figures_json"])["up_kbit_s"] == 100
    assert row["at"] == told["changes"][0]["at"]


@pytest.mark.parametrize(
    "link",
    [
        None,
        {},
        {"changes": "x"},
        {"changes": [None, 5, {}, {"at": "now"}]},
        {"changes": [{"at": "2026-03-02T00:30:00.000Z", "consultation": 1, "before": "live", "after": "smaller",
                      "reason": "loss", "figures": {}}]},
        {"changes": [{"at": "2026-03-02T00:30:00.000Z", "consultation": "c", "before": "live", "after": "gone",
                      "reason": "loss", "figures": {}}]},
        {"changes": [{"at": "2026-03-02T00:30:00.000Z", "consultation": "c", "before": "live", "after": "smaller",
                      "reason": "loss", "figures": {"rtt_ms": 1.5}}]},
    ],
)  # fmt: skip
def test_what_is_no_change_writes_nothing(link: Any, store: Store) -> None:
    written: list[Draft] = []
    RungEntries(store, written.append).take(link)
    assert written == []
