"""A device asks for its digits, a person answers or not; a bond is forgotten. No digit is on the feed or in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from touch_bench import PIN, Bench

from devices.clock import SimulatedClock
from devices.errors import LinkLost
from devices.readings import DeviceState, Link, Stamped
from sync.record.store import Store
from tests.vehicle.conftest import MORNING, open_store
from vehicle.feed import Feed
from vehicle.pairing import NothingToForget, Pairing, PairingOver, PasskeyUnusable
from vehicle.touchscreen.app import create_touchscreen

METER = "F0:F1:F2:18:08:01"
DOCTOR = "zhou.min"


class Radio:
    def __init__(self) -> None:
        self.forgotten: list[str] = []
        self.off = False

    async def forget(self, address: str) -> None:
        if self.off:
            raise LinkLost("Bluetooth is not available")
        self.forgotten.append(address)


class Desk:
    def __init__(self, store: Store, clock: SimulatedClock) -> None:
        self.store, self.clock, self.radio, self.feed = store, clock, Radio(), Feed()
        self.sent: list[dict[str, Any]] = []
        self.pairing = Pairing(store, clock, self, lambda: {"glucose-1": METER}, lambda: self.radio)
        self.pairing.listen(self.feed)

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def asked(self, address: str = METER) -> asyncio.Task[int | None]:
        asking = asyncio.create_task(self.pairing.ask(address))
        await asyncio.sleep(0)
        return asking

    def state(self, link: Link, fault: str | None = None, device: str = "glucose-1") -> None:
        said = DeviceState(link, fault=fault)
        self.feed.publish(Stamped(device, "bluetooth_glucose", self.clock.now(), self.clock.monotonic_s(), said))

    def refused(self) -> str | None:
        return self.pairing.refused

    def noted(self) -> list[str]:
        return [row["action"] for row in self.store.read("SELECT action FROM access_log ORDER BY n")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = SimulatedClock(MORNING)
    store = open_store(tmp_path / "data", clock)
    yield Desk(store, clock)
    store.close()


async def test_the_digits_that_are_typed_are_what_the_device_gets(desk: Desk) -> None:
    asking = await desk.asked()
    shown = desk.pairing.asking()
    assert shown is not None
    assert (shown.device, shown.left_s, shown.again) == ("glucose-1", 28.0, False)
    desk.clock.advance(5)
    later = desk.pairing.asking()
    assert later is not None
    assert later.left_s == 23.0
    await desk.pairing.answer(METER, "000123", DOCTOR)
    assert await asking == 123
    assert desk.pairing.asking() is None
    assert [message["turn"] for message in desk.sent] == [1, 2]
    assert desk.noted() == ["passkey_typed"]
    assert "123" not in str(desk.store.read("SELECT what FROM access_log")) + str(desk.sent)


@pytest.mark.parametrize("digits", ["", "12345", "1234567", "12a456", "１２３４５６"])
async def test_what_is_not_six_digits_is_refused_and_the_device_still_waits(desk: Desk, digits: str) -> None:
    asking = await desk.asked()
    with pytest.raises(PasskeyUnusable):
        await desk.pairing.answer(METER, digits, DOCTOR)
    assert desk.pairing.asking() is not None
    await desk.pairing.cancel(METER, DOCTOR)
    assert await asking is None
    assert desk.noted() == ["pairing_cancelled"]


async def test_when_the_device_gives_up_the_sheet_goes_and_late_digits_are_refused(desk: Desk) -> None:
    asking = await desk.asked()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert desk.pairing.asking() is None
    with pytest.raises(PairingOver):
        await desk.pairing.answer(METER, "123456", DOCTOR)
    assert desk.noted() == []


async def test_a_refusal_says_what_to_do_until_it_is_seen_or_the_device_asks_again(desk: Desk) -> None:
    asking = await desk.asked()
    await desk.pairing.answer(METER, "123456", DOCTOR)
    await asking
    desk.state(Link.ABSENT, "bluetooth_connect_failed")
    assert desk.refused() is None
    desk.state(Link.ABSENT, "bluetooth_pairing_failed", device="cuff-1")
    assert desk.refused() is None
    desk.state(Link.ABSENT, "bluetooth_pairing_failed")
    assert desk.refused() == "glucose-1"
    asking = await desk.asked()
    again = desk.pairing.asking()
    assert again is not None
    assert again.again
    await desk.pairing.answer(METER, "654321", DOCTOR)
    await asking
    desk.state(Link.ABSENT, "bluetooth_pairing_failed")
    assert desk.refused() == "glucose-1"
    desk.pairing.seen()
    desk.state(Link.ABSENT, "bluetooth_pairing_failed")
    assert desk.refused() is None
    desk.clock.advance(121)
    asking = await desk.asked()
    fresh = desk.pairing.asking()
    assert fresh is not None
    assert not fresh.again
    await desk.pairing.cancel(METER, DOCTOR)


async def test_who_is_put_off_or_not_answered_is_left_alone_for_a_minute(desk: Desk) -> None:
    """One open question keeps every other device from connecting."""
    asking = await desk.asked()
    await desk.pairing.cancel(METER, DOCTOR)
    assert await asking is None
    desk.state(Link.ABSENT, "bluetooth_pairing_failed")
    assert desk.refused() is None
    told = len(desk.sent)
    for _ in range(3):
        desk.clock.advance(15)
        assert await desk.pairing.ask(METER) is None
    assert len(desk.sent) == told
    other = await desk.asked("F0:F1:F2:18:10:01")
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    desk.clock.advance(16)
    asking = await desk.asked()
    assert desk.pairing.asking() is not None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await desk.pairing.forget("glucose-1", DOCTOR)
    asking = await desk.asked()
    assert desk.pairing.asking() is not None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_second_question_takes_the_place_of_the_first(desk: Desk) -> None:
    first = await desk.asked()
    second = await desk.asked("F0:F1:F2:18:10:01")
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    shown = desk.pairing.asking()
    assert shown is not None
    assert (shown.device, shown.address) == ("", "F0:F1:F2:18:10:01")
    await desk.pairing.cancel("F0:F1:F2:18:10:01", DOCTOR)
    assert await second is None


async def test_a_device_that_is_forgotten_is_noted_with_who_did_it(desk: Desk) -> None:
    await desk.pairing.forget("glucose-1", DOCTOR)
    assert desk.radio.forgotten == [METER]
    rows = desk.store.read("SELECT action, what FROM access_log")
    assert rows == [{"action": "device_forgotten", "what": f"glucose-1 {METER}"}]
    desk.radio.off = True
    with pytest.raises(LinkLost):
        await desk.pairing.forget("glucose-1", DOCTOR)
    with pytest.raises(NothingToForget):
        await desk.pairing.forget("ecg-1", DOCTOR)
    assert len(desk.noted()) == 1


async def test_the_sheet_is_on_every_page_and_answers_from_there(tmp_path: Path, clock: SimulatedClock) -> None:
    bench = Bench(tmp_path, clock)
    app = create_touchscreen(bench.vehicle)
    caller = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://van")
    await caller.post("/sign-in", data={"person": DOCTOR, "pin": PIN[DOCTOR]})
    asking = asyncio.create_task(bench.vehicle.pairing.ask(METER))
    await asyncio.sleep(0)
    for page in ("/today", "/measure", "/status"):
        text = (await caller.get(page)).text
        assert 'data-testid="pairing"' in text
        assert METER in text
    sent = await caller.post("/pairing/answer", data={"address": METER, "passkey": "428195"})
    assert sent.status_code == 303
    assert await asking == 428195
    assert 'data-testid="pairing"' not in (await caller.get("/status")).text
    late = await caller.post("/pairing/answer", data={"address": METER, "passkey": "428195"})
    assert late.status_code == 303
    assert "设备已经不等配对码了" in (await caller.get("/status")).text
    await caller.post("/pairing/forget", data={"device": "glucose-1"})
    assert "没有可以忘记的配对" in (await caller.get("/status")).text
    await caller.aclose()
    await bench.vehicle.stop()
