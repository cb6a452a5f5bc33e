r"""Analysers that speak HL7 v2: ORU^R01 (2.3.1 and later) in MLLP frames (``0B .. 1C 0D``) over TCP.

The analyser is the client. Each message is answered by ACK^R01 (chapter 2, 2.12): AA when its results are durable, and
when there are none in it (OBX is optional), AE with the reason when it cannot be read, AR when it is of another type or
too long. Without an answer, and after AE, the analyser sends it again. Who fills MSH-15 or MSH-16 (AL always, ER only
errors, SU only success, NE never) is answered in enhanced mode: CA, CE or CR as MSH-15 asks; as MSH-16 asks AA behind
it, or AE and AR where no CE or CR said so already. An acknowledgement is never acknowledged.

=======  ==============================================================================================================
segment  what is used
=======  ==============================================================================================================
MSH      3 and 4 sender, 7 time of the message, 9 type, 10 control id, 11 processing id (Q: control), 15 and 16 which
         answers are wanted (in 16 Mindray and URIT write 1 calibration, 2 control)
PID      3 and 5: what was typed at the analyser, shown to whoever assigns, never used to assign
OBR      2 specimen, else 3; 7 time, 15 material
OBX      2 type, 3 test, 5 result, 6 unit, 7 range, 8 flags, 11 status (table 0085), 14 time
NTE      3 comment
=======  ==============================================================================================================

Met in the field and borne: the analyte in OBX-4 with an ordinal in OBX-3 (URIT-8031); ``10^9/L`` in OBX-6, a component
separator inside a unit (URIT-5160); a LOINC code in OBX-3 that belongs to another analyte than its name (Dymind DH36,
share and count swapped: told by the unit); MSH-18 "UNICODE" or "ASCII"; names in GB18030; flags like ``H~A``; values
like ``**.*``; pictures of some hundred kilobytes (Mindray). Histograms and scattergrams (ED) are named in the comments
and not kept; modes and messages of the analyser (IS) go there, and a result whose test has no name.

Sources: HL7 2.3.1 chapters 2 and 7; MLLP release 1; public notes on URIT and Mindray analysers. Not tried on hardware
by us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from devices.analytes import analytes
from devices.driver import About, Counters, Metric, Output, TcpListener, Write
from devices.laboratory import (
    MAX_REMARK,
    MAX_REMARKS,
    decoded,
    in_entries,
    laboratory_value,
    time_of,
    word,
)
from devices.readings import DeviceState, LaboratoryResult, LaboratoryValue, Link, Sensor

START, END = 0x0B, 0x1C
MAX_MESSAGE_BYTES = 4_000_000
"""A five-part differential brings its scattergrams along, in Base64."""
RECEIVE_LIMIT_S = 30.0
ANSWER_HEAD = b"\x0bMSH|^~\\&|"
ATTACHMENTS = ("ED", "RP")
REMARKS = ("IS", "TX", "FT")
"""Value types of OBX-2 that are about the measurement, not results of it."""
CODED = ("CE", "CNE", "CWE", "CF")
"""Value types of OBX-2 whose result is a code, its words, and where both come from."""
LATIN_1 = b"8859/1"
"""Of MSH-18, HL7 table 0211. What else stands there is not to be relied on."""
LONGEST_ECHO = 199
"""Of a field that comes back in the answer: MSH-10 is at most so long in any version."""
CONDITIONS = ("AL", "ER", "NE", "SU")
"""Of MSH-15 and MSH-16, table 0155: when an answer is wanted."""
WITHOUT_RESULT = ("X", "D", "W")
"""Status of an OBX: cannot be obtained; an earlier result is to be deleted, or was somebody else's."""
FINAL_AS_SENT = "U"
"""Status of an OBX: what was sent as preliminary is final; the result need not be sent again."""
NOT_YET = ("I", "N", "O")
"""Status of an OBX that holds no result: pending, not asked, a description of the order."""


class MessageRefused(ValueError):
    """A message that is answered by AE or AR; the text is the reason for the analyser's own log."""

    def __init__(self, reason: str, code: str = "AE", head: Head | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.head = head or Head()


@dataclass(frozen=True, slots=True)
class Encoding:
    """Separators of one message: ``|`` and MSH-2."""

    field: str
    component: str
    repeat: str
    escape: str
    sub: str

    def plain(self, text: str) -> str:
        r"""Escape sequences undone: \F\ \S\ \T\ \R\ \E\ and \Xhh..\; others stay as they are."""
        mark = re.escape(self.escape)
        known = {"F": self.field, "S": self.component, "T": self.sub, "R": self.repeat, "E": self.escape}

        def undone(found: re.Match[str]) -> str:
            said = found.group(1)
            if said in known:
                return known[said]
            if re.fullmatch(r"X([0-9A-Fa-f]{2})+", said):
                return decoded(bytes.fromhex(said[1:]))
            return found.group(0)

        return re.sub(f"{mark}([^{mark}]{{1,40}}){mark}", undone, text)


@dataclass(frozen=True, slots=True)
class Segment:
    encoding: Encoding
    fields: tuple[str, ...]
    """``fields[n]`` is field n of the standard; for MSH, field 1 is the separator itself."""

    @property
    def name(self) -> str:
        return self.fields[0]

    def raw(self, number: int) -> str:
        return self.fields[number] if len(self.fields) > number else ""

    def parts(self, number: int) -> list[str]:
        """Components of the first repetition, escapes undone."""
        first = self.raw(number).split(self.encoding.repeat)[0]
        return [self.encoding.plain(part).strip() for part in first.split(self.encoding.component)]

    def first(self, number: int) -> str:
        return self.parts(number)[0]


@dataclass(slots=True)
class Report:
    """One OBR and what follows it."""

    specimen: str | None = None
    person: str | None = None
    material: str | None = None
    said_at: str | None = None
    values: list[LaboratoryValue] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        said = word(text, MAX_REMARK)
        if said and len(self.comments) < MAX_REMARKS:
            self.comments.append(said)


@dataclass(frozen=True, slots=True)
class Head:
    """What of MSH comes back in the answer, as it was written."""

    control_id: str = ""
    version: str = ""
    sender: tuple[str, str] = ("", "")
    processing_id: str = ""
    accept: str = ""
    """Which accept acknowledgement is wanted, one of ``CONDITIONS``; empty: not said."""
    application: str = ""

    @property
    def enhanced(self) -> bool:
        return bool(self.accept or self.application)

    @classmethod
    def of(cls, segment: Segment) -> Head:
        def echo(number: int) -> str:
            return segment.raw(number)[:LONGEST_ECHO].replace("|", "\\F\\")

        wanted = [segment.first(number) for number in (15, 16)]
        accept, application = (said if said in CONDITIONS else "" for said in wanted)
        return cls(echo(10), echo(12), (echo(3), echo(4)), echo(11), accept, application)


@dataclass(frozen=True, slots=True)
class Message:
    """An ORU^R01, read; or an acknowledgement, which is never answered."""

    head: Head
    results: tuple[LaboratoryResult, ...]
    wants_answer: bool = True


def segments_of(text: str) -> list[Segment]:
    """
    :raises MessageRefused: it does not begin with an MSH that says how it is written.
    """
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    if not lines or not lines[0].startswith("MSH") or len(lines[0]) < 8:
        raise MessageRefused("no MSH segment")
    separator, codes = lines[0][3], lines[0][4:8]
    if len({separator, *codes}) != 5:
        raise MessageRefused("MSH-2 does not name four different encoding characters")
    encoding = Encoding(separator, *codes)
    head, *others = (line.split(separator) for line in lines)
    return [Segment(encoding, (head[0], separator, *head[1:])), *(Segment(encoding, tuple(cut)) for cut in others)]


def message_of(text: str) -> Message:
    """
    :raises MessageRefused: not readable, not ORU^R01, or only with results whose test has no name.
    """
    head, *others = segments_of(text)
    echoed = Head.of(head)
    if head.first(9) == "ACK":
        return Message(echoed, (), wants_answer=False)
    if head.parts(9)[:2] != ["ORU", "R01"]:
        raise MessageRefused("only ORU^R01 is taken", "AR", echoed)
    sender = word(f"{head.first(3)} {head.first(4)}")
    control = head.first(11) == "Q" or head.first(16) in ("1", "2")
    person: str | None = None
    reports: list[Report] = []
    for segment in others:
        if segment.name == "PID":
            told = [part for number in (3, 5) for part in segment.parts(number) if part not in ("", "0")]
            person = word(" ".join(told)) or None
        elif segment.name == "OBR":
            reports.append(_report(segment, person))
        elif segment.name == "OBX":
            reports = reports or [Report(person=person)]
            _observe(segment, sender, reports[-1])
        elif segment.name == "NTE" and reports:
            reports[-1].remark(" ".join(segment.parts(3)))
    results = tuple(
        part
        for report in reports
        for part in in_entries(
            LaboratoryResult(
                specimen=report.specimen,
                values=tuple(report.values),
                analyser=sender,
                material=report.material,
                control=control,
                person_said=report.person,
                comments=tuple(report.comments),
                message_id=word(head.first(10)) or None,
                device_said_at=report.said_at,
                message_said_at=time_of(head.first(7)),
            )
        )
    )
    if not results and any(_is_result(segment) for segment in others):
        raise MessageRefused("OBX-3 does not name the test", "AE", echoed)
    return Message(echoed, results)


def _is_result(segment: Segment) -> bool:
    if segment.name != "OBX" or segment.first(2) in (*ATTACHMENTS, *REMARKS) or segment.first(11) in NOT_YET:
        return False
    return bool(word(segment.raw(5))) or segment.first(11) in (*WITHOUT_RESULT, FINAL_AS_SENT)


def _report(segment: Segment, person: str | None) -> Report:
    return Report(
        person=person,
        specimen=word(segment.first(2)) or word(segment.first(3)) or None,
        material=word(segment.first(15)) or None,
        said_at=time_of(segment.first(7)),
    )


def _observe(segment: Segment, sender: str, report: Report) -> None:
    code, loinc = _test(segment)
    value_type, said = segment.first(2), segment.encoding.plain(segment.raw(5)).strip()
    if value_type in ATTACHMENTS:
        report.remark(f"{code}: {value_type}, not kept")
        return
    if value_type == "SN":
        said = "".join(segment.parts(5))
    elif value_type in CODED:
        identifier, words, *_ = [*segment.parts(5), ""]
        said = words or identifier
    status = segment.first(11)
    if not word(said) and status not in (*WITHOUT_RESULT, FINAL_AS_SENT):
        return  # empty, or nothing but control characters
    if value_type in REMARKS or not code or status in NOT_YET:
        report.remark(f"{code or segment.first(1)}: {said}")
        return
    report.said_at = max((at for at in (report.said_at, time_of(segment.first(14))) if at), default=None)
    report.values.append(
        laboratory_value(
            sender,
            code,
            said,
            unit=_unit(segment),
            loinc=loinc,
            reference_range=segment.encoding.plain(segment.raw(7)),
            flags=segment.raw(8).split(segment.encoding.repeat),
            status=status,
            obtained=status not in WITHOUT_RESULT,
        )
    )


def _test(segment: Segment) -> tuple[str, str | None]:
    """(the analyser's name of the test, its LOINC code where the analyser gives one)."""
    number, name, system, *_ = [*segment.parts(3), "", "", ""]
    sub_id = segment.first(4)
    if number.isdigit() and not name and any(letter.isalpha() for letter in sub_id):
        return sub_id, None
    return name or number, number if system == "LN" else None


def _unit(segment: Segment) -> str:
    raw = segment.raw(6)
    whole = raw if re.match(r"[x×*]?\s*10\^\d", raw) else raw.split(segment.encoding.component)[0]
    return segment.encoding.plain(whole)


def answer(code: str, to: Head, reason: str = "") -> bytes:
    """ACK^R01 in its frame. MSH-7 stays empty: a driver reads no clock, and the field is optional."""
    head = ["MSH", "^~\\&", "xunzhen", "", *to.sender, "", "", "ACK^R01", to.control_id]
    head += [to.processing_id or "P", to.version or "2.3.1", *(["", "", "NE", "NE"] if to.enhanced else [])]
    acknowledgement = ["MSA", code, to.control_id, *([reason] if reason else [])]
    text = "|".join(head) + "\r" + "|".join(acknowledgement) + "\r"
    return bytes((START,)) + text.encode("utf-8") + bytes((END, 0x0D))


def answers(code: str, to: Head, reason: str = "") -> bytes:
    """What is to be sent back, by what MSH-15 and MSH-16 of the message ask for; empty: nothing.

    :param code: of the original mode: AA, AE or AR
    """
    if not to.enhanced:
        return answer(code, to, reason)
    when = ("AL", "SU" if code == "AA" else "ER")
    accepted = answer("C" + code[1], to, reason) if to.accept in when else b""
    refused_already = accepted and code != "AA"
    return accepted + (answer(code, to, reason) if to.application in when and not refused_already else b"")


def text_of(raw: bytes) -> str:
    """Latin-1 where MSH-18 says so and the bytes are not UTF-8; else as ``decoded`` finds it."""
    if raw.lstrip().partition(b"\r")[0].split(b"|")[17:18] != [LATIN_1]:
        return decoded(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Driver:
    about: ClassVar[About] = About(
        title_zh="检验分析仪（HL7）",
        title_en="Analyser (HL7)",
        models=("HL7 v2.3.1 ORU^R01 analysers (URIT, Mindray, Dymind ...)",),
        metrics=tuple(Metric(row.key, None, row.loinc, row.ucum) for row in analytes().values()),
        line=TcpListener(),
        source="HL7 2.3.1 chapters 2 and 7, MLLP release 1; hardware/protocols/hl7_analyser.md",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ANSWER_HEAD,)

    def __init__(self) -> None:
        self.counters = Counters()
        self._held: bytearray | None = None
        """Bytes after the start of a message; None between messages."""
        self._idle_s = 0.0
        self._fault: str | None = None

    def open(self) -> Output:
        self._drop()
        self._fault = None
        return Output(events=[self._state()])

    def close(self) -> Output:
        self._drop()
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        self._idle_s = 0.0
        for piece in re.findall(rb"\x0b|\x1c|[^\x0b\x1c]+", chunk):
            if piece[0] == START:
                self._drop()
                self._held = bytearray()
            elif self._held is None:
                self.counters.dropped_bytes += len(piece.strip(b"\r\n"))
            elif piece[0] == END:
                whole, self._held = bytes(self._held), None
                self._message(whole, output)
            elif len(self._held) + len(piece) > MAX_MESSAGE_BYTES:
                self._too_long(bytes(self._held + piece), output)
            else:
                self._held += piece
        return output

    def tick(self, elapsed_s: float) -> Output:
        self._idle_s += elapsed_s
        output = Output()
        if self._held is not None and self._idle_s >= RECEIVE_LIMIT_S:
            self._drop()
            self._tell_fault("analyser_interrupted", output)
        return output

    def _message(self, raw: bytes, output: Output) -> None:
        try:
            message = message_of(text_of(raw))
        except MessageRefused as refusal:
            self.counters.resyncs += 1
            self._refuse(refusal, output)
            return
        self.counters.frames += 1
        if not message.wants_answer:
            return
        self._tell_fault(None, output)
        output.events += message.results
        if said := answers("AA", message.head, "" if message.results else "no result in it"):
            output.writes.append(Write(said, after_stored=bool(message.results)))

    def _too_long(self, began: bytes, output: Output) -> None:
        """The rest of it is dropped as it comes."""
        self._drop()
        try:
            head = Head.of(segments_of(text_of(began.strip().partition(b"\r")[0]))[0])
        except MessageRefused:
            head = Head()
        self._refuse(MessageRefused(f"longer than {MAX_MESSAGE_BYTES} bytes", "AR", head), output)

    def _refuse(self, refusal: MessageRefused, output: Output) -> None:
        if said := answers(refusal.code, refusal.head, str(refusal)):
            output.writes.append(Write(said))
        self._tell_fault("analyser_message_refused", output)

    def _tell_fault(self, fault: str | None, output: Output) -> None:
        if fault != self._fault:
            self._fault = fault
            output.events.append(self._state())

    def _drop(self) -> None:
        if self._held is not None:
            self.counters.resyncs += 1
            self.counters.dropped_bytes += len(self._held) + 1
        self._held = None

    def _state(self) -> DeviceState:
        return DeviceState(Link.CONNECTED, Sensor.UNKNOWN, fault=self._fault)
