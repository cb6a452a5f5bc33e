"""The link in words a crew can act on, and the page that says them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from touch_bench import PIN, Bench

from devices.clock import SimulatedClock
from devices.readings import Cellular, ServingCell, Stamped
from sync.web.catalog import texts
from telemedicine.degradation import Rung
from telemedicine.link_sample import LinkSample
from tests.vehicle.conftest import MORNING
from vehicle.link.condition import condition_of
from vehicle.touchscreen.app import create_touchscreen
from vehicle.touchscreen.frame import link_words
from vehicle.touchscreen.link import HINTED

CELL = ServingCell("nr", "460", "11", "690E0F", "19013B004", 299, 633984, "n78", 100.0, 30, -88.0, -11.0, 18.0)
GOOD = Cellular("ready", "home", "nr_sa", "CHN-CT", (CELL,), 1)


def sample(up: float | None = 80e6, down: float | None = 200e6, rtt: float | None = 40.0) -> LinkSample:
    return LinkSample(MORNING, "probe", rtt_ms=rtt, up_bit_s=up, down_bit_s=down, loss_percent=0.1)


def cell(rsrp: float, sinr: float) -> Cellular:
    return Cellular("ready", "home", "nr_sa", None, (ServingCell("nr", rsrp_dbm=rsrp, sinr_db=sinr),))


@pytest.mark.parametrize(
    ("cellular", "measured", "online", "rung", "reasons"),
    [
        (GOOD, sample(), True, Rung.LIVE, ()),
        (None, None, True, None, ()),
        (None, None, False, None, ()),
        (GOOD, sample(up=600_000), True, Rung.SMALLER, ("slow",)),
        (GOOD, sample(up=100_000, rtt=240.0), True, Rung.AUDIO_ECG, ("slow", "far")),
        (GOOD, sample(down=20e6), True, Rung.LIVE, ("slow",)),
        (cell(-118, -5), sample(up=900_000), True, Rung.SMALLER, ("weak", "slow")),
        (cell(-90, -5), sample(), True, Rung.LIVE, ("noisy",)),
        (Cellular("absent"), None, False, Rung.ASYNCHRONOUS, ("sim_absent",)),
        (Cellular("puk"), sample(), False, Rung.ASYNCHRONOUS, ("sim_locked",)),
        (Cellular("ready", "denied"), None, False, Rung.ASYNCHRONOUS, ("denied",)),
        (Cellular("ready", "searching"), None, False, Rung.ASYNCHRONOUS, ("no_signal",)),
        (Cellular("ready", "limited", "nr_sa", None, (CELL,)), None, False, Rung.ASYNCHRONOUS, ("no_service",)),
        (GOOD, sample(), False, Rung.ASYNCHRONOUS, ("no_data",)),
        (Cellular("absent"), sample(), True, Rung.LIVE, ()),
    ],
)
def test_what_a_consultation_would_have_and_why(
    cellular: Cellular | None, measured: LinkSample | None, online: bool, rung: Rung | None, reasons: tuple[str, ...]
) -> None:
    said = condition_of(cellular, measured, online)
    assert (said.consultation, said.reasons) == (rung, reasons)


REASONS = {"sim_absent", "sim_locked", "denied", "no_data", "no_service", "no_signal", "weak", "noisy", "slow", "far"}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_reason_and_rung_has_words(language: str) -> None:
    t = texts(language)
    for code in REASONS:
        keys = (f"hints.{code}.title", f"hints.{code}.next_step") if code in HINTED else (code, f"{code}_do")
        assert all((key if code in HINTED else f"touch.link_now.{key}") in t for key in keys)
    assert all(f"touch.link_now.{rung}" in t for rung in Rung)


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    yield made
    await made.vehicle.stop()


async def page(bench: Bench) -> str:
    transport = httpx.ASGITransport(create_touchscreen(bench.vehicle))
    async with httpx.AsyncClient(transport=transport, base_url="http://van") as caller:
        await caller.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        return (await caller.get("/status/link?lang=en")).text


def tell(bench: Bench, cellular: Cellular) -> None:
    now_s = bench.clock.monotonic_s()
    bench.vehicle.feed.publish(Stamped("modem", "modem_manager", bench.clock.now(), now_s, cellular))


async def test_the_page_without_a_modem_and_with_one(bench: Bench) -> None:
    assert "No mobile modem is heard" in await page(bench)
    tell(bench, GOOD)
    bench.vehicle.link.monitor.take(sample(up=6.2e6, rtt=140.0))
    said = await page(bench)
    assert "460-11-690E0F-19013B004" in said
    assert "RSRP -88 dBm" in said
    assert 'data-testid="up">6.2 <small>Mbit/s' in said
    assert "No live consultation now" in said, "the county was never reached"
    assert "Registered, but no data reaches the county" in said
    tell(bench, Cellular("absent"))
    assert "No SIM card in the 5G modem" in await page(bench)


@pytest.mark.parametrize(
    ("rtt_ms", "up_mbit_s", "good"),
    [(3.0, 3.0, True), (180.0, None, True), (900.0, 20.0, False), (40.0, 0.6, False), (None, 3.0, False)],
)
def test_the_strip_calls_good_what_carries_a_consultation(
    rtt_ms: float | None, up_mbit_s: float | None, good: bool
) -> None:
    said = link_words({"online": True, "rtt_ms": rtt_ms, "up_mbit_s": up_mbit_s}, texts("zh"))
    assert said["good"] is good
    assert ("上行 0.6M" in said["title"]) is (up_mbit_s == 0.6)
