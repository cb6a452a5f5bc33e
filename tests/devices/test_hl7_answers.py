"""What an analyser is answered by HL7: it may forget what is durable, and repeats nothing for ever."""

from __future__ import annotations

import re

import pytest
from test_analysers import REPORT, SAID, said

from devices.drivers import hl7_analyser
from devices.readings import DeviceState, LaboratoryResult
from devices.simulators.hl7_analyser import oru


def answered(message: bytes) -> tuple[list[LaboratoryResult], bytes, list[str | None]]:
    """(results, the answer, faults) of one message that is fed in pieces."""
    driver = hl7_analyser.Driver()
    driver.open()
    outputs = [driver.feed(message[at : at + 8192]) for at in range(0, len(message), 8192)]
    events = [event for output in outputs for event in output.events]
    (write,) = [write for output in outputs for write in output.writes]
    results = [event for event in events if isinstance(event, LaboratoryResult)]
    assert write.after_stored is bool(results)
    return results, write.payload, [event.fault for event in events if isinstance(event, DeviceState)]


def test_a_message_without_results_is_accepted_so_that_it_does_not_come_for_ever() -> None:
    """OBX is optional in ORU^R01 (HL7 2.3.1, 7.2.1): a rack was started, or a sample holds nothing but pictures."""
    for rest in (b"PID|1\r", b"OBR|1|0042\rOBX|1|NM|WBC||\rOBX|2|ED|15008^Histogram^99MRC||^Image^BMP^Base64^Qk0\r"):
        message = b"\x0bMSH|^~\\&|x|y|||1||ORU^R01|77|P|2.3.1\r" + rest + b"\x1c\r"
        assert answered(message) == ([], b"\x0bMSH|^~\\&|xunzhen||x|y|||ACK^R01|77|P|2.3.1\r"
                                     b"MSA|AA|77|no result in it\r\x1c\r", [])  # fmt: skip


def test_scattergrams_of_some_hundred_kilobytes_keep_no_result_away() -> None:
    picture = b"OBX|9|ED|15203^Scattergram^99MRC||^Image^BMP^Base64^" + b"Qk02" * 100_000 + b"\r"
    (result,), said_back, _ = answered(b"\x0b" + oru(REPORT, "1").encode() + picture + b"\x1c\r")
    assert said(result) == SAID
    assert b"MSA|AA|1\r" in said_back


def test_a_message_without_end_is_refused_once_and_told() -> None:
    endless = b"\x0b" + oru(REPORT, "88").encode() + b"X" * hl7_analyser.MAX_MESSAGE_BYTES + b"\x1c\r"
    results, said_back, faults = answered(endless)
    assert results == []
    assert b"MSA|AR|88|longer than" in said_back
    assert faults == ["analyser_message_refused"]


def test_the_answer_has_the_control_id_and_processing_id_as_they_were_written() -> None:
    """Who compares MSA-2 with what it sent must find it, whatever stands in it."""
    (result,), said_back, _ = answered(b"\x0bMSH|^~\\&|x|y|||1||ORU^R01|A\\S\\7~b |Q|2.4\rOBX|1|NM|GLU||5.5\r\x1c\r")
    assert result.message_id == "A^7"
    assert b"|ACK^R01|A\\S\\7~b |Q|2.4\rMSA|AA|A\\S\\7~b \r" in said_back


def test_coded_results_are_told_in_words_and_what_has_no_name_is_a_comment() -> None:
    text = "\r".join(
        (
            "MSH|^~\\&|x|y|||20260301093000||ORU^R01|9|P|2.4",
            "OBX|1|CWE|NIT||260385009^Negative^SCT",
            "OBX|2|CE|PRO||2+",
            "OBX|3|NM|||6.4|mmol/L",
        )
    )
    (result,) = hl7_analyser.message_of(text).results
    assert [(value.code, value.said) for value in result.values] == [("NIT", "Negative"), ("PRO", "2+")]
    assert result.comments == ("3: 6.4",)


def test_each_result_has_the_name_that_stands_before_it() -> None:
    text = "\r".join(
        (
            "MSH|^~\\&|x|y|||20260301093000||ORU^R01|9|P|2.4",
            *("PID|1||||王^一", "OBR|1|0001", "OBX|1|NM|GLU||5.5"),
            *("PID|2||||李^二", "OBR|1|0002", "OBX|1|NM|GLU||7.7"),
        )
    )
    told = hl7_analyser.message_of(text).results
    assert [(result.specimen, result.person_said) for result in told] == [("0001", "王 一"), ("0002", "李 二")]


def test_latin_1_is_believed_where_the_message_says_so() -> None:
    """Its micro sign and the letter behind it are a Chinese character in GB18030."""
    head = "MSH|^~\\&|x|y|||1||ORU^R01|9|P|2.3.1||||||8859/1\rOBX|1|NM|CREA||88|µmol/L\r"
    for charset in ("latin-1", "utf-8"):
        (result,), _, _ = answered(b"\x0b" + head.encode(charset) + b"\x1c\r")
        assert result.values[0].unit == "µmol/L"


@pytest.mark.parametrize(
    ("wanted", "taken", "refused"),
    [
        ("|", ["AA"], ["AE"]),
        ("|2", ["AA"], ["AE"]),
        ("NE|AL", ["AA"], ["AE"]),
        ("AL|NE", ["CA"], ["CE"]),
        ("AL|", ["CA"], ["CE"]),
        ("AL|AL", ["CA", "AA"], ["CE"]),
        ("ER|AL", ["AA"], ["CE"]),
        ("SU|ER", ["CA"], ["AE"]),
        ("ER|ER", [], ["CE"]),
        ("SU|SU", ["CA", "AA"], []),
        ("NE|NE", [], []),
    ],
)
def test_what_is_answered_is_what_msh_15_and_16_ask_for(wanted: str, taken: list[str], refused: list[str]) -> None:
    """HL7 2.3.1, 2.13.2 and table 0155: the accept acknowledgement, and the one of the application behind it."""

    def answers_to(obx: str) -> list[str]:
        driver = hl7_analyser.Driver()
        driver.open()
        head = f"MSH|^~\\&|x|y|||1||ORU^R01|7|P|2.4|||{wanted}\r"
        output = driver.feed(b"\x0b" + (head + obx).encode() + b"\x1c\r")
        stored = any(isinstance(event, LaboratoryResult) for event in output.events)
        assert all(write.after_stored is stored for write in output.writes)
        assert len(output.writes) <= 1, "one question to the disk for both"
        sent = b"".join(write.payload for write in output.writes)
        return re.findall(r"\rMSA\|(..)\|7[|\r]", sent.decode())

    assert answers_to("OBX|1|NM|GLU||5.5\r") == taken
    assert [code.replace("AR", "AE") for code in answers_to("OBX|1|NM|||5.5\r")] == refused


def test_an_acknowledgement_is_not_acknowledged() -> None:
    """Two who answered each other's answers would never end."""
    driver = hl7_analyser.Driver()
    driver.open()
    output = driver.feed(b"\x0bMSH|^~\\&|x|y|||1||ACK^R01|8|P|2.4\rMSA|CA|7\r\x1c\r")
    assert (output.writes, output.events, driver.counters.frames) == ([], [], 1)


def test_what_cannot_be_obtained_is_no_value_whatever_stands_in_it() -> None:
    text = "\r".join(
        (
            "MSH|^~\\&|x|y|||20260301093000||ORU^R01|9|P|2.4",
            "OBX|1|NM|718-7^HGB^LN||0|g/L|110-150|LL|||X",
            "OBX|2|NM|6690-2^WBC^LN|||10^9/L|||||X",
            "OBX|3|NM|777-3^PLT^LN||90|10^9/L|||||P",
            "OBX|4|NM|789-8^RBC^LN||4.1|10^12/L|||||I",
            "OBX|5|NM|4544-3^HCT^LN||0|%|||||D",
            "OBX|6|NM|787-2^MCV^LN|||fL|||||U",
        )
    )
    (result,) = hl7_analyser.message_of(text).results
    assert [(value.code, value.said, value.number, value.flags, value.status) for value in result.values] == [
        ("HGB", "---", None, (), "X"),
        ("WBC", "---", None, (), "X"),
        ("PLT", "90", 90.0, (), "P"),
        ("HCT", "---", None, (), "D"),
        ("MCV", "", None, (), "U"),
    ]
    assert result.comments == ("RBC: 4.1",)
    answered_only_pending = answered(b"\x0bMSH|^~\\&|x|y|||1||ORU^R01|9|P|2.4\rOBX|1|NM|||4.1||||||I\r\x1c\r")
    assert answered_only_pending[0] == []
    assert b"MSA|AA|9|no result in it" in answered_only_pending[1]
