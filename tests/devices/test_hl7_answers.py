"""What an analyser is answered by HL7: it may forget what is durable, and repeats nothing for ever."""

from __future__ import annotations

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
