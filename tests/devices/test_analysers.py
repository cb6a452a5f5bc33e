"""Analysers whole: published frames, bad lines, repeats, names in Chinese; nothing is acknowledged too early."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from device_captures import needs_shared, vectors

from devices.analytes import analysers, analyte_of, analytes, ucum_units
from devices.astm import ACK, ENQ, EOT, NAK, STX, AstmReceiver, Record, checksum, frame
from devices.clock import SystemClock
from devices.driver import Counters, DriverContract, Write
from devices.drivers import astm_analyser, gmp_urine, hl7_analyser
from devices.laboratory import decoded, number_of, time_of
from devices.links.tcp_listener import TcpListenerLink
from devices.readings import DeviceState, Event, LaboratoryResult, Stamped
from devices.session import DeviceSession, DeviceSettings, open_sessions
from devices.simulators.analyser_report import Found, SpecimenReport
from devices.simulators.astm_analyser import AstmAnalyserTwin, Faults, records
from devices.simulators.hl7_analyser import Hl7AnalyserTwin, oru
from devices.simulators.pty_port import PtyPort
from devices.simulators.tcp_caller import TcpCaller
from devices.simulators.twin import Twin

STEP_S = 0.05
REPORT = SpecimenReport(
    "4711",
    "20260301093000",
    (
        Found("WBC", "6.40", "10*3/uL", "4.00-10.00", ("N",), "6690-2"),
        Found("HGB", "9.8", "g/dL", "11.0-16.0", ("L",), "718-7"),
        Found("PLT", "++++", "10*3/uL", "", ("A",), "777-3"),
    ),
)


class Table:
    """A driver and a twin on one line, in simulated time."""

    def __init__(self, driver: DriverContract, twin: Twin, stored: bool = True) -> None:
        self.driver, self.twin, self.stored = driver, twin, stored
        self.events: list[Event] = list(driver.open().events)
        self.writes: list[Write] = []
        twin.power_on()

    def run(self, seconds: float) -> Table:
        for _ in range(round(seconds / STEP_S)):
            sent = self.twin.advance(STEP_S)
            while sent:
                said = self.driver.feed(sent)
                sent = self.twin.receive(self._answered(said.events, said.writes))
            said = self.driver.tick(STEP_S)
            sent = self.twin.receive(self._answered(said.events, said.writes))
            if sent:
                said = self.driver.feed(sent)
                self.twin.receive(self._answered(said.events, said.writes))
        return self

    def _answered(self, events: list[Event], writes: list[Write]) -> bytes:
        self.events += events
        self.writes += writes
        return b"".join(write.payload for write in writes if self.stored or not write.after_stored)

    @property
    def results(self) -> list[LaboratoryResult]:
        return [event for event in self.events if isinstance(event, LaboratoryResult)]

    @property
    def faults(self) -> list[str | None]:
        return [event.fault for event in self.events if isinstance(event, DeviceState)]


def said(result: LaboratoryResult) -> list[tuple[str, str, float | None]]:
    return [(value.code, value.said, value.quantity) for value in result.values]


SAID = [("WBC", "6.40", 6.4), ("HGB", "9.8", 98.0), ("PLT", "++++", None)]


# the published frames


@needs_shared
@pytest.mark.parametrize("vector", [*vectors("cobas c111"), *vectors("Contour USB")])
def test_published_frames_are_taken(vector: dict[str, Any]) -> None:
    raw, expected = bytes.fromhex(vector["hex"]), vector["expected"]
    assert raw[:1] == STX
    assert raw[1] - ord("0") == expected["frame_no"]
    receiver = AstmReceiver(Counters())
    list(receiver.feed(ENQ))
    before = b"".join(frame(n, b"C|1|I|x\r", last=False) for n in range(1, expected["frame_no"]))
    list(receiver.feed(before))
    heard = [*receiver.feed(raw), *receiver.feed(EOT)]
    taken = [one.text for one in heard if isinstance(one, Record)]
    assert [record[:1].decode() for record in taken] == [expected["record"]]
    assert receiver_said(raw) == ACK
    assert raw.rstrip(b"\r\n")[-2:] == checksum(raw.rstrip(b"\r\n")[1:-2])
    assert (b"\x17" in raw) == (expected["end"] == "ETB")


def receiver_said(raw: bytes) -> bytes:
    """The answer to one frame, whatever its number."""
    receiver = AstmReceiver(Counters())
    list(receiver.feed(ENQ))
    for n in range(1, raw[1] - ord("0")):
        list(receiver.feed(frame(n, b"C|1|I|x\r", last=False)))
    answers = [one for one in [*receiver.feed(raw), *receiver.tick(1.0)] if not isinstance(one, Record)]
    return answers[-1].payload if hasattr(answers[-1], "payload") else b""


@needs_shared
def test_a_published_session_gives_its_result_with_the_maker_s_own_code() -> None:
    """Frames 2 and 5 of the session were not published: a patient and a comment stand in their places."""
    published = {bytes.fromhex(v.values[0]["hex"])[1] - ord("0"): v.values[0]["hex"] for v in vectors("cobas c111")}
    driver = astm_analyser.Driver()
    driver.open()
    driver.feed(ENQ)
    events: list[Event] = []
    for number in range(1, 8):
        whole = bytes.fromhex(published[number]) if number in published else b""
        events += driver.feed(whole or frame(number, b"C|1|I|-\r", last=False)).events
    (result,) = [event for event in events if isinstance(event, LaboratoryResult)]
    assert result.specimen == "T20 10134GA D28"
    assert "c111" in result.analyser
    (value,) = result.values
    assert (value.code, value.said, value.unit, value.key, value.number) == ("413", "40.13", "g/L", None, 40.13)
    assert (result.device_said_at, result.message_said_at) == ("2023-08-03T13:17:00", "2023-08-03T13:17:13")


@needs_shared
@pytest.mark.parametrize("vector", vectors("URIT-8031"))
def test_the_published_message_gives_its_analyte_from_obx_4(vector: dict[str, Any]) -> None:
    driver, expected = hl7_analyser.Driver(), vector["expected"]
    driver.open()
    output = driver.feed(bytes.fromhex(vector["hex"]))
    (result,) = [event for event in output.events if isinstance(event, LaboratoryResult)]
    (value,) = result.values
    assert (value.code, value.said, value.unit) == (expected["analyte"], expected["value"], expected["unit"])
    assert (value.key, value.quantity, value.ucum) == ("glucose", 6.16133, "mmol/L")
    assert (result.specimen, result.person_said) == ("0000966134", None)
    (write,) = output.writes
    assert write.after_stored
    assert b"|urit|8030|" in write.payload
    assert f"MSA|AA|{expected['control_id']}\r".encode() in write.payload


@needs_shared
@pytest.mark.parametrize("vector", vectors("GMP UA"))
def test_the_published_urine_frame_is_ours(vector: dict[str, Any]) -> None:
    raw, driver = bytes.fromhex(vector["hex"]), gmp_urine.Driver()
    assert raw == gmp_urine.ASK_CONFIRM
    assert raw[5] == vector["expected"]["token"]
    driver.feed(raw)
    assert driver.counters.frames == 1


# bad lines


@pytest.mark.parametrize(
    "fault", ["wrong_checksum", "unheard_ack", "frame_twice", "enq_again", "cut_frame", "three_at_once"]
)
def test_whatever_the_line_does_the_report_comes_once_and_whole(fault: str) -> None:
    faults = Faults(wrong_checksum=2, frame_twice=2, unheard_ack=1) if fault == "three_at_once" else Faults()
    if fault != "three_at_once":
        setattr(faults, fault, 1)
    twin = AstmAnalyserTwin(faults=faults)
    twin.report(REPORT)
    table = Table(astm_analyser.Driver(), twin).run(90.0)
    assert twin.delivered == 1
    assert [said(result) for result in table.results] == [SAID]
    assert table.results[0].specimen == "4711"


def test_six_spoiled_frames_end_the_transmission_and_the_next_one_succeeds() -> None:
    twin = AstmAnalyserTwin(faults=Faults(wrong_checksum=6))
    twin.report(REPORT)
    table = Table(astm_analyser.Driver(), twin).run(30.0)
    assert (twin.naks, twin.delivered) == (6, 1)
    assert len(table.results) == 1


def test_a_line_that_goes_quiet_is_told_and_told_well_again() -> None:
    driver = astm_analyser.Driver()
    driver.open()
    driver.feed(ENQ + frame(1, b"H|\\^&|||x\r"))
    told = [event.fault for _ in range(301) for event in driver.tick(0.1).events if isinstance(event, DeviceState)]
    assert told == ["analyser_interrupted"]
    twin = AstmAnalyserTwin()
    twin.report(REPORT)
    table = Table(driver, twin).run(3.0)
    assert table.faults[-1] is None


def test_the_last_frame_is_acknowledged_only_when_the_results_are_durable() -> None:
    twin = AstmAnalyserTwin()
    twin.report(REPORT)
    table = Table(astm_analyser.Driver(), twin, stored=False).run(5.0)
    assert (twin.delivered, twin.waiting) == (0, 1)
    assert [write.after_stored for write in table.writes].count(True) == 1
    table.stored = True
    table.run(30.0)
    assert (twin.delivered, twin.waiting) == (1, 0)
    assert table.results[0] == table.results[1]


def test_a_long_record_runs_over_frames_and_all_records_may_come_in_one() -> None:
    twin = AstmAnalyserTwin()
    long = SpecimenReport("4712", "20260301093000", tuple(Found(f"X{n}", f"{n}.5", "U") for n in range(30)))
    twin.report(long)
    assert len(Table(astm_analyser.Driver(), twin).run(5.0).results[0].values) == 30
    driver = astm_analyser.Driver()
    driver.open()
    whole = "\r".join(records(long)).encode() + b"\r"
    output = driver.feed(ENQ + frame(1, whole)[:-1])  # the line feed is missing
    (result,) = [event for event in output.events if isinstance(event, LaboratoryResult)]
    assert len(result.values) == 30
    assert [write.payload for write in driver.tick(0.3).writes] == [ACK]


def test_a_transmission_given_up_after_a_refused_frame_is_not_half_a_report() -> None:
    """E1381: who is refused six times ends with EOT, and sends the whole message again later."""
    lines = ["H|\\^&|||Twin^1", "P|1", "O|1|0042||^^^ALL", "R|1|^^^GLU|6.4|mmol/L", "R|2|^^^CREA|88|umol/L", "L|1|N"]
    frames = [frame(number, line.encode() + b"\r") for number, line in enumerate(lines, start=1)]
    spoiled = frames[4].replace(b"88", b"86")
    driver = astm_analyser.Driver()
    driver.open()

    def told(stream: bytes) -> list[Event]:
        return driver.feed(ENQ + stream + EOT).events

    (state,) = told(b"".join(frames[:4]) + spoiled * 6)
    assert isinstance(state, DeviceState)
    assert state.fault == "analyser_interrupted"
    once_more = b"".join([*frames[:4], spoiled, *frames[4:]])
    (result,) = [event for event in told(once_more) if isinstance(event, LaboratoryResult)]
    assert [value.said for value in result.values] == ["6.4", "88"]


def test_a_whole_day_in_one_message_comes_whole_and_each_result_with_its_own_person() -> None:
    """E1394 allows many patients in a message; 25 people with 30 analytes are more than is held at a time."""
    lines = ["H|\\^&|||Batch^1"]
    for n in range(25):
        lines += [f"P|{n}||||Person {n}", f"O|1|{n:04}||^^^ALL", *(f"R|{k}|^^^X{k}|{k}.5|U" for k in range(30))]
    driver = astm_analyser.Driver()
    driver.open()
    outputs = [driver.feed(ENQ)]
    for number, line in enumerate([*lines, "L|1|N"], start=1):
        outputs.append(driver.feed(frame(number, line.encode() + b"\r")))
        outputs.append(driver.tick(0.3))
    outputs.append(driver.feed(EOT))
    by_specimen: dict[str | None, list[str]] = {}
    for output in outputs:
        told = [event for event in output.events if isinstance(event, LaboratoryResult)]
        for result in told:
            assert result.person_said == f"Person {int(result.specimen or '')}"
            by_specimen.setdefault(result.specimen, []).extend(value.code for value in result.values)
        if told:
            assert all(write.after_stored for write in output.writes)
    assert by_specimen == {f"{n:04}": [f"X{k}" for k in range(30)] for n in range(25)}
    assert driver.counters.gaps == 0


def test_a_header_names_its_own_delimiters() -> None:
    message = astm_analyser.Message()
    for record in ("H!~*$!!!Other*A!!!!!!!P", "O!1!77!!*ALL", "R!1!***GLU*x!5.5$F$!mmol/L!!N~A", "L!1"):
        message.add(record)
    (result,) = message.take()
    assert (result.specimen, result.analyser) == ("77", "Other A")
    assert (result.values[0].code, result.values[0].said, result.values[0].flags) == ("GLU", "5.5!", ("N", "A"))


def test_an_analyser_whose_numbers_stand_behind_rack_and_place_is_known_by_its_name() -> None:
    for sender, expected in (("Sysmex^XN-550^00", "0001"), ("Other^X", "3")):
        message = astm_analyser.Message()
        for record in (f"H|\\^&|||{sender}", "O|1||3^1^   0001^B", "R|1|^^^^WBC^1|5.4|10*3/uL", "L|1"):
            message.add(record)
        assert message.take()[0].specimen == expected


# HL7


def test_an_unheard_acknowledgement_makes_the_same_result_come_again() -> None:
    twin = Hl7AnalyserTwin(unheard=1)
    twin.report(REPORT)
    table = Table(hl7_analyser.Driver(), twin).run(12.0)
    assert (twin.sent, twin.waiting) == (2, 0)
    assert table.results[0] == table.results[1]
    assert said(table.results[0]) == SAID


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (b"PID|1\r", "AE", "no MSH"),
        (b"MSH|^^^^|x\r", "AE", "encoding characters"),
        (b"MSH|^~\\&|x|y|||1||QRY^Q02|77|P|2.3.1\r", "AR", "ORU^R01"),
        (b"MSH|^~\\&|x|y|||1||ORU^R01|77|P|2.3.1\rOBX|1|NM|||6.4\r", "AE", "OBX-3"),
        (b"\xff\xfe\x00", "AE", "no MSH"),
    ],
)
def test_what_cannot_be_taken_is_answered_with_the_reason(message: bytes, code: str, reason: str) -> None:
    driver = hl7_analyser.Driver()
    driver.open()
    output = driver.feed(b"\x0b" + message + b"\x1c\r")
    (write,) = output.writes
    assert f"MSA|{code}|".encode() in write.payload
    assert reason.encode() in write.payload
    assert not write.after_stored
    assert [event.fault for event in output.events if isinstance(event, DeviceState)] == ["analyser_message_refused"]


def test_units_with_a_separator_names_in_gb18030_modes_and_histograms() -> None:
    text = "\r".join(
        (
            "MSH|^~\\&|urit|5160|||20260301093000||ORU^R01|9|P|2.3.1||||0||ASCII",
            "PID|1||||张|三^",
            "OBR|1||0042|x|||20260301092900||||||||Venous",
            "OBX|1|NM|WBC||6.4|10^9/L|4.0-10.0|N|||F",
            "OBX|2|SN|PLT||<^10|10^9/L|100-300|L~A|||F",
            "OBX|3|IS|08003^Test Mode^99MRC||CBC+DIFF||||||F",
            "OBX|4|ED|15008^WBC Histogram^99MRC||^Image^BMP^Base64^Qk0|||||||F",
            "OBX|5|NM|HGB|||g/L||||",
            "NTE|1||diluted",
        )
    )
    message = hl7_analyser.message_of(text)
    (result,) = message.results
    assert [(v.code, v.said, v.comparator, v.quantity, v.unit) for v in result.values] == [
        ("WBC", "6.4", None, 6.4, "10^9/L"),
        ("PLT", "<10", "<", 10.0, "10^9/L"),
    ]
    assert result.comments == ("Test Mode: CBC+DIFF", "WBC Histogram: ED, not kept", "diluted")
    assert (result.specimen, result.material) == ("0042", "Venous")
    named = oru(SpecimenReport("1", "20260301", REPORT.found, person="倈萟"), "5").encode("gb18030")
    assert "倈萟".encode("gb18030")[1::2] == b"|^"  # separators, were it cut before it is decoded
    assert hl7_analyser.message_of(decoded(named)).results[0].person_said == "倈萟"


def test_control_material_is_marked_in_both_protocols() -> None:
    control = SpecimenReport("QC1", "20260301080000", REPORT.found, control=True)
    astm, hl7 = AstmAnalyserTwin(), Hl7AnalyserTwin()
    astm.report(control)
    hl7.report(control)
    assert [result.control for result in Table(astm_analyser.Driver(), astm).run(3.0).results] == [True]
    assert [result.control for result in Table(hl7_analyser.Driver(), hl7).run(3.0).results] == [True]


# words and numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6.40", (6.4, None)),
        (" 204 ", (204.0, None)),
        ("<0.5", (0.5, "<")),
        ("≥ 10", (10.0, ">=")),
        ("-2.1", (-2.1, None)),
        *[(word, (None, None)) for word in ("++++", "-----", "-", "+", "+1", "1+", "neg", "±", "**.*", "6,4", "1:40")],
        *[(word, (None, None)) for word in ("1.2e3", "nan", "inf", "", "6.4 mmol", "٣", "９.4", "0x10", "1_000")],
    ],
)
def test_only_a_plain_number_is_a_number(text: str, expected: tuple[float | None, str | None]) -> None:
    assert number_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260301093015", "2026-03-01T09:30:15"),
        ("202603010930", "2026-03-01T09:30:00"),
        ("20260301093015+0800", "2026-03-01T09:30:15"),
        ("20260301", "2026-03-01"),
        ("2026-03-01", "2026-03-01"),
        ("20261301", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_are_as_the_clock_showed_them(text: str, expected: str | None) -> None:
    assert time_of(text) == expected


def test_the_map_is_whole() -> None:
    for row in analytes().values():
        assert all((row.zh, row.en, row.ucum))
        assert row.loinc is None or row.loinc.rsplit("-", 1)[-1] == loinc_check_digit(row.loinc)
    loincs = [row.loinc for row in analytes().values() if row.loinc]
    assert len(set(loincs)) == len(loincs)
    known = {row.ucum for row in analytes().values()} | {unit for row in analytes().values() for unit in row.factors}
    assert set(ucum_units().values()) - known <= {"[IU]/L"}
    for analyser in analysers():
        assert analyser.source
        assert set(analyser.codes.values()) <= set(analytes())


def loinc_check_digit(loinc: str) -> str:
    """Mod 10 of the LOINC Users' Guide, as the Luhn algorithm has it."""
    digits = [int(digit) for digit in loinc.split("-")[0]]
    doubled = [sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits))]
    return str(-sum(doubled) % 10)


def test_a_code_whose_unit_cannot_be_the_analyte_s_is_not_believed() -> None:
    assert analyte_of("anybody", "GRAN%", "%", loinc="20482-6") is None
    assert analyte_of("anybody", "GRAN#", "10^9/L", loinc="20482-6") is not None
    assert analyte_of("urit 5160", "HGB", "mmol/L") is None
    assert analyte_of("somebody else", "WBC", "10^9/L") is None


# over TCP, as on the van


def test_two_analysers_in_turn_over_a_real_port(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    heard: list[LaboratoryResult] = []
    stored: list[int] = []

    def publish(stamped: Stamped) -> None:
        if isinstance(stamped.event, LaboratoryResult):
            heard.append(stamped.event)

    async def durable() -> bool:
        stored.append(len(heard))
        return True

    async def story() -> None:
        clock = SystemClock()
        link = TcpListenerLink("lab-1", "127.0.0.1", 0)
        await link.listen()
        settings_ = DeviceSettings(name="lab-1", driver="hl7_analyser", link="listen", port="127.0.0.1:9100")
        session = DeviceSession(settings_, hl7_analyser.Driver(), link, publish, clock, stored=durable)
        running = asyncio.create_task(session.run())
        try:
            for number in range(2):
                twin = Hl7AnalyserTwin()
                twin.report(SpecimenReport(str(number), "20260301093000", REPORT.found, person="测试甲"))
                calling = asyncio.create_task(TcpCaller("127.0.0.1", link.bound_port or 0, twin, clock).run())
                while not twin.answers:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert link.bound_port is None

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story()

    asyncio.run(bounded())
    assert [result.specimen for result in heard] == ["0", "1"]
    assert stored == [1, 2]
    assert "测试甲" not in caplog.text
    assert "6.40" not in caplog.text


def test_an_analyser_on_a_serial_cable(tmp_path: Path) -> None:
    heard: list[LaboratoryResult] = []
    twin = AstmAnalyserTwin(faults=Faults(wrong_checksum=1))
    twin.report(REPORT)

    async def story() -> None:
        clock = SystemClock()
        port = PtyPort(tmp_path / "analyser", twin, clock)
        port.attach()
        settings_ = DeviceSettings(name="lab-1", driver="astm_analyser", link="serial", port=str(port.path))

        def publish(stamped: Stamped) -> None:
            if isinstance(stamped.event, LaboratoryResult):
                heard.append(stamped.event)

        (session,) = open_sessions([settings_], publish, clock, hub=None)
        running = asyncio.create_task(session.run())
        try:
            async with asyncio.timeout(60):
                while not twin.delivered:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            port.detach()

    asyncio.run(story())
    assert [said(result) for result in heard] == [SAID]
    assert twin.naks == 1


def heard_by(driver: DriverContract, chunk: bytes) -> Iterator[LaboratoryResult]:
    for event in [*driver.feed(chunk).events, *driver.tick(1.0).events]:
        if isinstance(event, LaboratoryResult):
            yield event


def test_noise_between_messages_is_dropped_and_counted() -> None:
    noise = random.Random(7)
    for driver, good in (
        (astm_analyser.Driver(), ENQ + b"".join(frame(n, r.encode()) for n, r in enumerate(records(REPORT), 1)) + EOT),
        (hl7_analyser.Driver(), b"\x0b" + oru(REPORT, "1").encode() + b"\x1c\r"),
    ):
        driver.open()
        driver.feed(noise.randbytes(3000) + NAK)
        driver.tick(40.0)
        assert len(list(heard_by(driver, good))) == 1
        assert driver.counters.dropped_bytes > 0
