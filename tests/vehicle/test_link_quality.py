"""What is known of the link: samples of each source, and the entry that sums a visit up."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from devices.readings import Cellular, ServingCell
from sync.formats.link_figures import Verdict, shortfalls, summary, verdict
from sync.formats.records import Draft
from telemedicine.link_sample import LinkSample, as_fields, from_fields
from tests.vehicle.conftest import MORNING, NEAR
from vehicle.link.monitor import FRESH_FOR_S, LinkMonitor
from vehicle.link.visit_quality import ENTRY_EVERY_S, MOST_VALUES, OpenVisit, VisitQuality

ANCHOR = ServingCell("lte", "460", "01", "DE10", "5F1EA15", rsrp_dbm=-100.0)
BESIDE = ServingCell("nr", "460", "01", rsrp_dbm=-71.0, sinr_db=33.0)


@given(st.lists(st.integers(-200, 200_000), min_size=1, max_size=200))
def test_a_summary_names_values_that_were_there(values: list[int]) -> None:
    said = summary(values)
    assert said["min"] == min(values)
    assert {said["median"], said["p95"]} <= set(values)
    assert said["min"] <= said["median"] <= said["p95"] <= max(values)
    assert sum(value <= said["p95"] for value in values) >= math.ceil(0.95 * len(values))


@pytest.mark.parametrize(
    ("up", "down", "rtt", "said", "short"),
    [
        (60_000, 60_000, 90, Verdict.MEETS, []),
        (50_000, 50_000, 100, Verdict.MEETS, []),
        (49_999, 60_000, 90, Verdict.MISSES, ["up_kbit_s"]),
        (60_000, 20_000, 101, Verdict.MISSES, ["down_kbit_s", "rtt_ms"]),
        (None, 60_000, 90, Verdict.NOT_MEASURED, []),
        (None, None, 140, Verdict.MISSES, ["rtt_ms"]),
        (None, None, None, Verdict.NOT_MEASURED, []),
    ],
)
def test_held_against_50_mbit_s_and_100_ms(
    up: int | None, down: int | None, rtt: int | None, said: Verdict, short: list[str]
) -> None:
    figures = {
        name: {"min": 0, "median": value, "p95": value}
        for name, value in (("up_kbit_s", up), ("down_kbit_s", down), ("rtt_ms", rtt))
        if value is not None
    }
    assert (verdict(figures), shortfalls(figures)) == (said, short)


@pytest.mark.parametrize("strange", [{}, {"rtt_ms": 5}, {"up_kbit_s": {"median": "many"}}, {"rtt_ms": {"p95": True}}])
def test_figures_of_another_form_are_not_there(strange: dict) -> None:
    assert verdict(strange) is Verdict.NOT_MEASURED


FIELD = st.integers(0, 10**7)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("rtt_ms", "jitter_ms", "loss_per_mille", "up_kbit_s", "down_kbit_s", "silent_ms"), FIELD
        ),
    ).map(lambda said: {name: min(value, 1000) if name == "loss_per_mille" else value for name, value in said.items()})
)
def test_a_sample_crosses_processes_unchanged(said: dict[str, int]) -> None:
    sample = from_fields(said, MORNING, "session")
    assert as_fields(sample or LinkSample(MORNING, "session")) == {
        name: value for name, value in said.items() if name != "silent_ms" or value
    }


@pytest.mark.parametrize("said", [{"rtt_ms": "5"}, {"rtt_ms": -1}, {"rtt_ms": True, "x": 1}, {"rtt_ms": 1 << 50}])
def test_what_is_no_figure_is_left_out(said: dict) -> None:
    assert from_fields(said, MORNING, "session") is None


def test_the_monitor_tells_each_new_figure_once_and_forgets_old_ones() -> None:
    clock, heard = SimulatedClock(MORNING), []
    measured = SimpleNamespace(rtt_ms=None, delivery_mbit_s=None)
    session: list[dict | None] = [None]
    monitor = LinkMonitor(clock, measured, lambda: session[0])
    monitor.listeners.append(heard.append)
    monitor.tick()
    assert (heard, monitor.now()) == ([], None)
    measured.rtt_ms, measured.delivery_mbit_s = 41.0, 12.5
    monitor.tick()
    monitor.tick()
    measured.rtt_ms = 43.0
    monitor.tick()
    assert [(one.rtt_ms, one.up_bit_s) for one in heard] == [(41.0, 12.5e6), (43.0, None)]
    session[0] = {"rtt_ms": 60, "loss_per_mille": 5, "up_kbit_s": 3000}
    monitor.tick()
    now = monitor.now()
    assert (now.source, now.rtt_ms, now.loss_percent, now.up_bit_s) == ("session", 60.0, 0.5, 3e6)
    session[0] = None
    monitor.take(LinkSample(clock.now(), "probe", rtt_ms=55.0, down_bit_s=80e6))
    clock.advance(FRESH_FOR_S["session"] + 1)
    now = monitor.now()
    assert (now.source, now.rtt_ms, now.down_bit_s) == ("delivery", 43.0, 80e6)
    clock.advance(FRESH_FOR_S["probe"] + 1)
    assert monitor.now() is None


class Stage:
    def __init__(self) -> None:
        self.clock = SimulatedClock(MORNING)
        self.visit: OpenVisit | None = OpenVisit("v1", "510199201201")
        self.place: tuple[float, float] | None = NEAR
        self.written: list[Draft] = []
        self.quality = VisitQuality(self.clock, lambda: self.visit, lambda: self.place, self._write)

    def _write(self, draft: Draft) -> None:
        draft.check()
        self.written.append(draft)

    def sample(self, source: str = "delivery", **figures: float) -> None:
        self.quality.on_sample(LinkSample(self.clock.now(), source, **figures))  # type: ignore[arg-type]


def test_a_visit_is_summed_up_when_it_ends() -> None:
    stage = Stage()
    for rtt_ms in range(1, 101):
        stage.sample(rtt_ms=float(rtt_ms), up_bit_s=rtt_ms * 1e6)
        stage.clock.advance(5)
    stage.sample("probe", up_bit_s=70e6, down_bit_s=90e6, rtt_ms=30.0, loss_percent=0.4, jitter_ms=3.0)
    stage.quality.on_cellular(Cellular("ready", "home", "nr_nsa", "CHN-CT", (ANCHOR, BESIDE)))
    stage.visit = None
    stage.quality.flush()
    (draft,) = stage.written
    assert (draft.kind, draft.visit) == ("link_quality/1", "v1")
    fields = draft.fields
    assert (fields["village"], fields["samples"], fields["duration_s"]) == ("510199201201", 101, 500)
    assert (fields["lat_e3"], fields["lon_e3"]) == (30600, 104000)
    assert (fields["technology"], fields["cells"]) == ("nr_nsa", ["460-01-DE10-5F1EA15"])
    figures = fields["figures"]
    assert figures["rtt_ms"] == {"min": 1, "median": 50, "p95": 95}
    assert figures["up_kbit_s"] == {"min": 70_000, "median": 70_000, "p95": 70_000, "from": "probe"}
    assert figures["loss_per_mille"] == {"min": 4, "median": 4, "p95": 4}
    assert (figures["rsrp_dbm"]["median"], figures["sinr_db"]["median"]) == (-71, 33)
    assert verdict(figures) is Verdict.MEETS
    stage.quality.flush()
    assert len(stage.written) == 1


def test_rates_of_deliveries_count_where_no_probe_was_made() -> None:
    stage = Stage()
    stage.sample("session", up_bit_s=2e6)
    stage.sample("delivery", up_bit_s=20e6)
    stage.quality.flush()
    assert stage.written[0].fields["figures"]["up_kbit_s"] == {
        "min": 20_000, "median": 20_000, "p95": 20_000, "from": "delivery",
    }  # fmt: skip


def test_each_hour_an_entry_and_another_visit_is_another_entry() -> None:
    stage = Stage()
    for _ in range(int(ENTRY_EVERY_S / 5) + 1):
        stage.sample(rtt_ms=40.0)
        stage.clock.advance(5)
    assert [draft.fields["duration_s"] for draft in stage.written] == [3600]
    stage.sample(rtt_ms=40.0)
    stage.visit = OpenVisit("v2", "510199201202")
    stage.sample(rtt_ms=50.0)
    stage.visit = None
    stage.quality.flush()
    assert [draft.visit for draft in stage.written] == ["v1", "v1", "v2"]


def test_nothing_measured_writes_nothing_and_no_place_is_no_place() -> None:
    stage = Stage()
    stage.quality.flush()
    stage.visit = None
    stage.sample(rtt_ms=40.0)
    stage.quality.flush()
    assert stage.written == []
    stage.visit, stage.place = OpenVisit("v1", "510199201201"), None
    stage.quality.on_cellular(Cellular("absent"))
    stage.quality.flush()
    assert stage.written[0].fields["technology"] == "none"
    assert "lat_e3" not in stage.written[0].fields


def test_memory_and_entry_stay_small() -> None:
    stage = Stage()
    for i in range(MOST_VALUES + 100):
        stage.sample(rtt_ms=float(i), jitter_ms=1.0, loss_percent=0.1, up_bit_s=1e6, down_bit_s=1e6)
        cell = ServingCell("nr", "460", "01", "DE10", f"{i + 1:X}", rsrp_dbm=-90.0)
        stage.quality.on_cellular(Cellular("ready", "home", "nr_sa", None, (cell,)))
    stage.quality.flush()
    fields = stage.written[0].fields
    assert len(fields["cells"]) == 32
    assert fields["figures"]["rtt_ms"]["p95"] < MOST_VALUES
    assert len(str(fields)) < 3000
