"""When the van probes its link, and that it never costs more than was allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from sync.delivery.link_probe_client import ProbeFailed, ProbeHeld
from sync.formats.link_probe import EchoFigures, Ticket
from telemedicine.link_sample import LinkSample
from tests.vehicle.conftest import MORNING
from vehicle.link.probe_budget import ProbeBudget
from vehicle.link.probing import COST_OF_ECHOES, FIRST_AFTER_S, FIRST_BYTES, OVERHEAD, SECOND_BYTES, Moment, Probing

ECHOES = EchoFigures(100, 1, 40.0, 60.0, 2.0, 3.0)


@dataclass
class Client:
    """A county that counts what it is sent."""

    rate_bit_s: float | None = 80e6
    port: int = 9
    sent_bytes: int = 0
    done: list[str] = field(default_factory=list)
    fault: Exception | None = None

    async def ticket(self) -> Ticket:
        self.done.append("ticket")
        if self.fault is not None:
            raise self.fault
        return Ticket(b"s" * 8, 1, b"k" * 32, self.port)

    async def echoes(self, ticket: Ticket, packets: int) -> EchoFigures:
        self.sent_bytes += packets * 2 * 92
        self.done.append("echoes")
        return ECHOES

    async def down(self, size: int) -> float | None:
        self.sent_bytes += size
        self.done.append(f"down {size}")
        return self.rate_bit_s

    async def up(self, body: bytes) -> float | None:
        self.sent_bytes += len(body)
        self.done.append(f"up {len(body)}")
        return self.rate_bit_s


class Stage:
    def __init__(self, day: int = 100_000_000, visit: int = 30_000_000) -> None:
        self.clock = SimulatedClock(MORNING)
        self.moment = Moment("v1", free=True)
        self.client = Client()
        self.kept: list[bytes] = []
        self.told: list[LinkSample] = []
        self.budget = ProbeBudget(day, visit, lambda: None, self.kept.append)
        self.probing = Probing(
            self.client, self.budget, self.clock, lambda: self.moment, self.told.append, lambda n: b"r" * n
        )

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 20)):
            await self.probing.tick()
            self.clock.advance(20)


async def test_a_little_after_the_visit_began_and_then_once_an_hour() -> None:
    stage = Stage()
    await stage.pass_time(FIRST_AFTER_S)
    assert stage.client.done == []
    await stage.pass_time(20)
    assert stage.client.done == [
        "ticket", "echoes", f"down {FIRST_BYTES}", f"down {SECOND_BYTES}", f"up {FIRST_BYTES}", f"up {SECOND_BYTES}",
    ]  # fmt: skip
    (sample,) = stage.told
    assert (sample.source, sample.rtt_ms, sample.jitter_ms, sample.loss_percent) == ("probe", 60.0, 3.0, 1.0)
    assert (sample.up_bit_s, sample.down_bit_s) == (80e6, 80e6)
    await stage.pass_time(3500)
    assert len(stage.told) == 1
    await stage.pass_time(200)
    assert len(stage.told) == 2


async def test_a_slow_link_is_told_by_the_small_transfer() -> None:
    stage = Stage()
    stage.client.rate_bit_s = 3e6
    await stage.pass_time(200)
    assert stage.client.done == ["ticket", "echoes", f"down {FIRST_BYTES}", f"up {FIRST_BYTES}"]


async def test_without_an_echo_at_the_county_the_rates_are_told() -> None:
    stage = Stage()
    stage.client.port = 0
    await stage.pass_time(200)
    assert "echoes" not in stage.client.done
    assert (stage.told[0].rtt_ms, stage.told[0].up_bit_s) == (None, 80e6)


async def test_no_visit_no_probe_and_never_beside_a_consultation() -> None:
    stage = Stage()
    stage.moment = Moment(None, free=True)
    await stage.pass_time(4000)
    stage.moment = Moment("v1", free=False)
    await stage.pass_time(4000)
    assert stage.client.done == []
    stage.moment = Moment("v1", free=True)
    await stage.pass_time(20)
    assert len(stage.told) == 1


async def test_a_consultation_that_begins_in_the_middle_ends_the_probe_and_it_comes_later() -> None:
    stage = Stage()

    async def down(size: int) -> float | None:
        stage.moment = Moment("v1", free=False)
        raise ProbeHeld

    usual, stage.client.down = stage.client.down, down  # type: ignore[method-assign]
    await stage.pass_time(200)
    assert stage.told == []
    stage.client.down = usual  # type: ignore[method-assign]
    stage.moment = Moment("v1", free=True)
    await stage.pass_time(20)
    assert len(stage.told) == 1


@pytest.mark.parametrize("fault", [ProbeFailed("the county answered 404"), OSError("disk")])
async def test_a_probe_that_fails_waits_for_the_next_hour(fault: Exception) -> None:
    stage = Stage()
    stage.client.fault = fault
    await stage.pass_time(1000)
    assert (stage.client.done, stage.told) == (["ticket"], [])


async def test_what_a_visit_may_cost_is_not_exceeded() -> None:
    stage = Stage(visit=6_000_000)
    await stage.pass_time(8 * 3600)
    assert stage.client.sent_bytes <= 6_000_000
    assert stage.told
    stage.moment = Moment("v2", free=True)
    before = stage.client.sent_bytes
    await stage.pass_time(8 * 3600)
    assert before < stage.client.sent_bytes <= before + 6_000_000


def test_a_budget_that_cannot_be_kept_allows_nothing() -> None:
    def full(_: bytes) -> None:
        raise OSError("disk full")

    budget = ProbeBudget(10, 10, lambda: None, full)
    with pytest.raises(OSError):
        budget.reserve(5, date(2026, 3, 2), "v1")
    assert budget.left(date(2026, 3, 2), "v1") == 10


STEPS = st.lists(
    st.tuples(
        st.integers(-5, 700),
        st.integers(-2, 3).map(lambda days: date(2026, 3, 2) + timedelta(days)),
        st.sampled_from(("v1", "v2")),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_budget_is_never_exceeded_over_restarts_and_clock_steps(steps: list) -> None:
    kept: list[bytes] = []

    def opened() -> ProbeBudget:
        return ProbeBudget(1000, 600, lambda: kept[-1] if kept else None, kept.append)

    budget = opened()
    spent_since_newest: dict[date, int] = {}
    newest = date(2026, 1, 1)
    run_visit, run_bytes = "", 0
    for size, day, visit, restart in steps:
        if restart:
            budget = opened()
        left = budget.left(day, visit)
        assert 0 <= left <= 600
        if budget.reserve(size, day, visit):
            assert 0 <= size <= left
            newest = max(newest, day)
            spent_since_newest[newest] = spent_since_newest.get(newest, 0) + size
            run_bytes = run_bytes + size if visit == run_visit else size
            run_visit = visit
        else:
            assert size < 0 or size > left
        assert all(total <= 1000 for total in spent_since_newest.values())
        assert run_bytes <= 600


@given(
    st.binary(max_size=60) | st.sampled_from([b"{}", b'{"day":"x"}', b'{"day":"2026-03-02","day_bytes":"9"}', b"[]"])
)
def test_what_was_kept_may_be_anything(body: bytes) -> None:
    budget = ProbeBudget(1000, 600, lambda: body, lambda _: None)
    assert 0 <= budget.left(date(2026, 3, 2), "v1") <= 600


def test_a_whole_probe_of_a_fast_link_fits_a_visit() -> None:
    assert COST_OF_ECHOES + 2 * OVERHEAD * (FIRST_BYTES + SECOND_BYTES) < 12_000_000
