"""The modems' AT drivers: published lines, echo, errors, unsolicited lines, a modem that hangs, a real pty."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from device_captures import needs_shared, vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.at_modem import ANSWER_WITHIN_S, ASK_EVERY_S, LONGEST_LINE, AtModem, hexadecimal, network_code
from devices.clock import SystemClock
from devices.drivers import fibocom_5g, quectel_5g
from devices.links.serial_link import SerialLink
from devices.readings import Cellular, DeviceState, Event, Link, Sensor, ServingCell, Stamped
from devices.session import DeviceSession, DeviceSettings
from devices.simulators.at_modem import AtTwin, FibocomTwin, QuectelTwin, Scene
from devices.simulators.pty_port import PtyPort

BOTH = [
    pytest.param(quectel_5g.Driver, QuectelTwin, id="quectel"),
    pytest.param(fibocom_5g.Driver, FibocomTwin, id="fibocom"),
]
QUECTEL_FIELDS = {
    "rsrp": "rsrp_dbm", "rsrq": "rsrq_db", "sinr": "sinr_db", "pci": "pci", "band": "band", "arfcn": "arfcn",
    "earfcn": "arfcn", "tac": "tac", "mcc": "mcc", "mnc": "mnc", "cell_id": "cell_id", "bw_mhz": "bandwidth_mhz",
    "scs_khz": "subcarrier_spacing_khz",
}  # fmt: skip
ANCHOR = ServingCell("lte", "460", "01", "DE10", "5F1EA15", 12, 1650, "B3", 20.0, None, -100.0, -12.0, 2.0)
BESIDE = ServingCell("nr", "460", "01", None, None, 747, 627264, "n78", 100.0, 30, -71.0, -11.0, 33.0)


def round_of(driver: AtModem, twin: AtTwin, chunk_bytes: int | None = None) -> list[Event]:
    """One round of questions, the twin's answers cut into pieces of ``chunk_bytes``."""
    output = driver.open()
    events, writes = list(output.events), list(output.writes)
    while writes:
        answer = twin.receive(writes.pop(0).payload)
        step = chunk_bytes or len(answer) or 1
        for start in range(0, len(answer), step):
            output = driver.feed(answer[start : start + step])
            events += output.events
            writes += output.writes
    return events


def told(events: list[Event]) -> Cellular:
    return next(event for event in events if isinstance(event, Cellular))


def one_line(driver: AtModem, line: str) -> Cellular:
    driver.open()
    driver.feed(f"\r\n{line}\r\n".encode())
    return driver.heard.cellular()


@needs_shared
@pytest.mark.parametrize("vector", vectors("Quectel"))
def test_quectel_lines_read_as_published(vector: dict[str, Any]) -> None:
    expected = vector["expected"]
    cellular = one_line(quectel_5g.Driver(), bytes.fromhex(vector["hex"]).decode())
    (cell,) = cellular.cells
    assert cell.technology == ("lte" if expected["rat"] == "LTE" else "nr")
    assert cellular.technology == {"LTE": "lte", "NR5G-NSA": "nr_sa", "NR5G-SA": "nr_sa"}[expected["rat"]]
    compared = {name: getattr(cell, QUECTEL_FIELDS[name]) for name in expected if name in QUECTEL_FIELDS}
    assert compared == {name: expected[name] for name in compared}


@needs_shared
@pytest.mark.parametrize("vector", vectors("Fibocom"))
def test_fibocom_lines_read_as_published(vector: dict[str, Any]) -> None:
    driver, expected = fibocom_5g.Driver(), vector["expected"]
    driver.open()
    driver.feed(bytes.fromhex(vector["hex"]) + b"\r\n")
    (cell,) = driver.heard.cellular().cells
    assert cell.technology == expected["rat"].lower()
    names = {"rsrp": "rsrp_dbm", "rsrq": "rsrq_db", "pci": "pci", "band": "band", "mcc": "mcc"}
    compared = {name: getattr(cell, names[name]) for name in expected if name in names}
    assert compared == {name: expected[name] for name in compared}


def test_fibocom_titles_mean_hexadecimal_channels() -> None:
    """FM160 as published: EARFCN 672h = 1650 (B3), NR-ARFCN 99240h = 627264 (n78)."""
    driver = fibocom_5g.Driver()
    driver.open()
    driver.feed(
        b"+GTCCINFO: \r\nLTE service cell: \r\n1,4,460,11,4F50,052BF337,672,1E4,103,100,50,68,68,28\r\n"
        b"NR service cell:\r\n1,9,460,11,010203,0000012345,99240,C6,5078,100,91,74,74,67\r\n"
    )
    lte, nr = driver.heard.cellular().cells
    assert (lte.arfcn, lte.pci, lte.band, lte.bandwidth_mhz, lte.rsrp_dbm, lte.rsrq_db) == (
        1650, 484, "B3", 20.0, -72, -6.0,
    )  # fmt: skip
    assert (nr.arfcn, nr.pci, nr.band, nr.rsrp_dbm, nr.sinr_db) == (627264, 198, "n78", -82, 22.5)
    assert lte.identity == "460-11-4F50-52BF337"
    assert nr.identity == "460-11-10203-12345"


@pytest.mark.parametrize(("maker", "twin"), BOTH)
@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("chunk_bytes", [None, 1, 7])
def test_one_round_tells_the_serving_cell(maker: Any, twin: Any, echo: bool, chunk_bytes: int | None) -> None:
    cellular = told(round_of(maker(), twin(echo=echo), chunk_bytes))
    assert (cellular.sim, cellular.registration, cellular.technology) == ("ready", "home", "nr_sa")
    assert cellular.operator == "CHN-CT"
    assert [cell.identity for cell in cellular.cells] == ["460-11-690E0F-19013B004"]
    assert cellular.cells[0].rsrp_dbm == -107


@pytest.mark.parametrize(("maker", "twin"), BOTH)
def test_unsolicited_lines_between_disturb_nothing(maker: Any, twin: Any) -> None:
    noisy = twin(Scene(cells=(ANCHOR, BESIDE)))
    noisy.unsolicited = ["RING", '+CEREG: 1,"DE10","5F1EA15",7', "+QIND: SMS DONE", "^DSCI: 1", "+CGEV: NW DETACH"]
    cellular = told(round_of(maker(), noisy))
    assert (cellular.technology, cellular.registration) == ("nr_nsa", "home")
    assert cellular.cells[0].identity == "460-01-DE10-5F1EA15"
    assert noisy.refused == []


@pytest.mark.parametrize("words", ["+CME ERROR: SIM not inserted", "+CME ERROR: 10"])
def test_a_modem_that_says_errors_in_words_is_understood_at_once(words: str) -> None:
    """AT+CMEE=2, as some makers have it: without the final line the question would be waited for in vain."""
    driver = quectel_5g.Driver()
    driver.open()
    driver.feed(b"\r\nOK\r\n")
    asked = driver.feed(f"\r\n{words}\r\n".encode()).writes
    assert [write.payload for write in asked] == [b"AT+COPS?\r"]
    assert driver.heard.sim == "absent"


@pytest.mark.parametrize(
    ("sim", "registration", "said", "sensor", "fault"),
    [
        ("", 0, "absent", Sensor.ERROR, "sim_absent"),
        ("SIM PIN", 0, "pin", Sensor.ERROR, "sim_locked"),
        ("SIM PUK", 0, "puk", Sensor.ERROR, "sim_locked"),
        ("READY", 2, "ready", Sensor.SEARCHING, None),
        ("READY", 3, "ready", Sensor.SEARCHING, None),
    ],
)
@pytest.mark.parametrize(("maker", "twin"), BOTH)
def test_without_service_it_says_why(
    maker: Any, twin: Any, sim: str, registration: int, said: str, sensor: Sensor, fault: str | None
) -> None:
    events = round_of(maker(), twin(Scene(sim=sim, registration=registration, cells=())))
    cellular = told(events)
    assert (cellular.sim, cellular.cells, cellular.technology) == (said, (), None)
    state = next(event for event in events if isinstance(event, DeviceState))
    assert (state.sensor, state.fault) == (sensor, fault)


def test_plain_error_and_unknown_commands_end_the_question() -> None:
    """An LTE module without +C5GREG, without +CME: the round goes on."""

    class Old(QuectelTwin):
        def lines(self, command: str) -> list[str] | None:
            return None if command in ("AT+C5GREG?", "AT+QCAINFO") else super().lines(command)

    cellular = told(round_of(quectel_5g.Driver(), Old(Scene(cells=(ANCHOR,)))))
    assert (cellular.technology, cellular.registration, cellular.carriers) == ("lte", "home", None)


@pytest.mark.parametrize(("maker", "twin"), BOTH)
def test_a_modem_that_hangs_is_asked_on_and_nothing_is_invented(maker: Any, twin: Any) -> None:
    driver = maker()
    events = list(driver.open().events)
    for _ in range(len(driver.questions)):
        events += driver.tick(ANSWER_WITHIN_S).events
    assert events == []
    assert driver.counters.gaps == len(driver.questions)
    assert driver.tick(ASK_EVERY_S).writes[0].payload == b"AT\r"


def test_closing_withdraws_what_was_told() -> None:
    driver = quectel_5g.Driver()
    assert driver.close().events == []
    round_of(driver, QuectelTwin())
    assert driver.close().events == [Cellular()]


@pytest.mark.parametrize(
    ("said", "bits", "read"),
    [
        ("00A1", 16, "A1"), ("ffff", 16, None), ("FFFFFFF", 24, None), ("00FFFFFFF", 36, None), ("0", 24, "0"),
        ("FF", 16, "FF"), ("-", 16, None), ("", 16, None), ("12345", 16, None), ("xyz", 16, None),
    ],
)  # fmt: skip
def test_hexadecimal_identities(said: str, bits: int, read: str | None) -> None:
    assert hexadecimal(said, bits) == read


def test_network_codes_get_their_zeros_back() -> None:
    assert network_code("1", "1") == ("001", "01")
    assert network_code("310", "260") == ("310", "260")
    assert network_code("", "01") == (None, None)


WORDS = st.sampled_from(
    [
        b"\r\n", b"\r", b"OK", b"ERROR", b"+CME ERROR: 10", b'+QENG: "servingcell","NOCONN","NR5G-SA","TDD",',
        b"+QENG:",
        b"+GTCCINFO:\r\n", b"1,9,", b"NR service cell:", b"460,11,", b"+CEREG: ", b"+QCSQ: ", b'"NR5G",', b"-32768,",
        b"-,", b"+CPIN: READY", b"+COPS: 0,0,\"\"", b"FFFFFFF,", b"99999999999,",
    ]
)  # fmt: skip


@pytest.mark.parametrize("maker", [quectel_5g.Driver, fibocom_5g.Driver])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces=st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=40), cut=st.integers(1, 9))
def test_anything_in_any_pieces_is_read_the_same_and_stays_in_range(maker: Any, pieces: list[bytes], cut: int) -> None:
    stream = b"".join(pieces)
    whole, cut_up = maker(), maker()
    whole.open()
    cut_up.open()
    at_once = whole.feed(stream).events
    by_pieces = [event for i in range(0, len(stream), cut) for event in cut_up.feed(stream[i : i + cut]).events]
    assert at_once == by_pieces
    assert whole.heard == cut_up.heard
    assert_in_range(whole.heard.cellular())
    assert len(cut_up._lines._held) <= LONGEST_LINE


def assert_in_range(cellular: Cellular) -> None:
    for cell in cellular.cells:
        assert cell.rsrp_dbm is None or -156 <= cell.rsrp_dbm <= -20
        assert cell.rsrq_db is None or -43 <= cell.rsrq_db <= 20
        assert cell.sinr_db is None or -23 <= cell.sinr_db <= 41
        assert cell.pci is None or 0 <= cell.pci <= 1007
        assert cell.mcc is None or (len(cell.mcc) == 3 and cell.mcc.isdecimal())
        assert cell.tac is None or int(cell.tac, 16) < 1 << 24
        assert cell.cell_id is None or int(cell.cell_id, 16) < 1 << 36


@pytest.mark.parametrize(("driver_id", "twin"), [("quectel_5g", QuectelTwin), ("fibocom_5g", FibocomTwin)])
async def test_over_a_real_pty_and_after_being_pulled_out(driver_id: str, twin: Any, tmp_path: Path) -> None:
    clock, modem, heard = SystemClock(), twin(echo=True), asyncio.Queue[Stamped]()
    port = PtyPort(tmp_path / "modem", modem, clock)
    maker = {"quectel_5g": quectel_5g.Driver, "fibocom_5g": fibocom_5g.Driver}[driver_id]
    listed = DeviceSettings(name="modem-1", driver=driver_id, link="serial", port=str(port.path))
    session = DeviceSession(listed, maker(), SerialLink(str(port.path)), heard.put_nowait, clock)
    port.attach()
    running = asyncio.create_task(session.run())
    try:
        async with asyncio.timeout(20):
            first = await until(heard, lambda event: isinstance(event, Cellular))
            assert first.cells[0].identity == "460-11-690E0F-19013B004"
            port.detach()
            withdrawn = await until(heard, lambda event: isinstance(event, Cellular))
            assert withdrawn == Cellular()
            await until(heard, lambda event: isinstance(event, DeviceState) and event.link is not Link.CONNECTED)
            port.attach()
            again = await until(heard, lambda event: isinstance(event, Cellular))
            assert again.cells == first.cells
            assert modem.refused == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        port.detach()


async def until(heard: asyncio.Queue[Stamped], fits: Any) -> Any:
    while True:
        event = (await heard.get()).event
        if fits(event):
            return event
