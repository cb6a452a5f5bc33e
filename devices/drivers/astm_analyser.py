"""Analysers that speak ASTM: frames of E1381 (LIS1-A), records of E1394 (LIS2-A2); over TCP or serial 9600 8N1.

The analyser sends, we answer: ENQ and every good frame with ACK, a spoiled one with NAK. The frame that ends a report
is acknowledged only when its results are durable; without our ACK the analyser sends it again.

======  ===============================================================================================================
record  what is used (fields counted as in the standard, the type of the record is 1)
======  ===============================================================================================================
H       2 delimiters, 5 sender, 12 processing id (Q: control), 14 time of the message
P       3 and 4 numbers, 6 name: what was typed at the analyser, shown to whoever assigns, never used to assign
O       3 specimen, else 4 instrument's specimen; 12 action code (Q: control), 16 material, 23 time of the report
R       3 test (components 1 to 3 are universal names, 4 and later the maker's), 4 result, 5 unit, 6 range, 7 flags,
        9 status, 13 time
C       4 comment
L       end of the message
======  ===============================================================================================================

Everything else (M, S, Q) is passed over: we do not answer queries for orders. Results keep the text that was sent;
which analyte a code means is said by ``devices/analytes`` for analysers it knows, and by nobody for others.

Sources: ASTM E1381-02, E1394-97 (CLSI LIS1-A, LIS2-A2) as met in public captures of Roche cobas c111 and Sysmex XP-100.
Not tried on hardware by us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from devices.analytes import analyser_of, analytes
from devices.astm import ACK, NAK, Answer, AstmReceiver, Ended, Received, Record
from devices.driver import About, Counters, Metric, Output, SerialLine, TcpListener, Write
from devices.laboratory import MAX_REMARK, MAX_REMARKS, decoded, field_at, in_entries, laboratory_value, time_of, word
from devices.readings import DeviceState, LaboratoryResult, LaboratoryValue, Link, Sensor

MOST_AT_ONCE = 400
"""Results that are held: a longer message, such as a whole day's at the evening, is told in parts."""
CONTROL = "Q"
NOT_DONE = "X"
"""Status of a result: cannot be done."""
STATUSES = {"R": "F", "W": "F"}
"""Of R-9, where a letter means another thing in HL7: sent before; of questionable validity."""


@dataclass(slots=True)
class Delimiters:
    """Of one message, as its header says."""

    field: str = "|"
    repeat: str = "\\"
    component: str = "^"
    escape: str = "&"

    @classmethod
    def of(cls, header: str) -> Delimiters:
        """From ``H|\\^&|``; those of the standard where the header is too short to say."""
        return cls(*header[1:5]) if len(header) >= 5 and len(set(header[1:5])) == 4 else cls()

    def plain(self, text: str) -> str:
        """Escape sequences undone: &F& &S& &R& &E& and &Xhh..&; others stay as they are."""
        mark = re.escape(self.escape)
        known = {"F": self.field, "S": self.component, "R": self.repeat, "E": self.escape}

        def undone(found: re.Match[str]) -> str:
            said = found.group(1)
            if said in known:
                return known[said]
            if re.fullmatch(r"X([0-9A-Fa-f]{2})+", said):
                return decoded(bytes.fromhex(said[1:]))
            return found.group(0)

        return re.sub(f"{mark}([^{mark}]{{1,40}}){mark}", undone, text)


@dataclass(slots=True)
class Order:
    """One O record and what follows it."""

    specimen: str | None = None
    person: str | None = None
    material: str | None = None
    control: bool = False
    reported_at: str | None = None
    measured_at: str | None = None
    values: list[LaboratoryValue] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)


class Message:
    """The records between H and L."""

    def __init__(self) -> None:
        self.delimiters = Delimiters()
        self.sender = ""
        self.control = False
        self.said_at: str | None = None
        self.person: str | None = None
        self.orders: list[Order] = []
        self._held = 0
        """Orders and results in ``orders``."""

    @property
    def full(self) -> bool:
        """So much is held that it is to be told before the message ends."""
        return self._held >= MOST_AT_ONCE

    def add(self, text: str) -> bool:
        """Take one record; True when it ends the message."""
        if text[:1] == "H":
            self.delimiters = Delimiters.of(text)
        fields = text.split(self.delimiters.field)
        match fields[0][:1]:
            case "H":
                self.sender = " ".join(self._components(field_at(fields, 5)))
                self.control = field_at(fields, 12) == CONTROL
                self.said_at = time_of(field_at(fields, 14))
            case "P":
                told = (self.delimiters.plain(part) for number in (3, 4, 6) for part in self._parts(fields, number))
                self.person = word(" ".join(part for part in told if part)) or None
            case "O":
                self.orders.append(self._order(fields))
                self._held += 1
            case "R":
                self._result(fields)
            case "C" if self.orders and len(self.orders[-1].comments) < MAX_REMARKS:
                said = word(self.delimiters.plain(" ".join(self._components(field_at(fields, 4)))), MAX_REMARK)
                self.orders[-1].comments += [said][: 1 if said else 0]
            case "L":
                return True
        return False

    def take(self) -> list[LaboratoryResult]:
        """What came so far. What follows of the last order has its specimen still, and none of what was taken."""
        told = [result for order in self.orders for result in self._told(order)]
        self.orders, self._held = [replace(order, values=[], comments=[]) for order in self.orders[-1:]], 0
        return told

    def _told(self, order: Order) -> Iterator[LaboratoryResult]:
        return in_entries(
            LaboratoryResult(
                specimen=order.specimen,
                values=tuple(order.values),
                analyser=word(self.sender),
                material=order.material,
                control=order.control or self.control,
                person_said=order.person,
                comments=tuple(order.comments),
                device_said_at=order.measured_at or order.reported_at,
                message_said_at=self.said_at,
            )
        )

    def _order(self, fields: list[str]) -> Order:
        analyser = analyser_of(self.sender)
        place = (analyser.specimen_component if analyser else 1) - 1
        numbers = [(self._parts(fields, number)[place:] or [""])[0] for number in (3, 4)]
        return Order(
            specimen=next((said for number in numbers if (said := word(self.delimiters.plain(number)))), None),
            person=self.person,
            material=word(" ".join(self._components(field_at(fields, 16)))) or None,
            control=field_at(fields, 12) == CONTROL,
            reported_at=time_of(field_at(fields, 23)),
        )

    def _result(self, fields: list[str]) -> None:
        said, status = self.delimiters.plain(field_at(fields, 4)), field_at(fields, 9).strip()
        if not said.strip() and status != NOT_DONE:
            return
        if not self.orders:
            self.orders.append(Order(person=self.person))
        order = self.orders[-1]
        test = self._parts(fields, 3)
        code = next((part for part in [*test[3:], *test[:3]] if part), "")
        order.measured_at = max((t for t in (order.measured_at, time_of(field_at(fields, 13))) if t), default=None)
        self._held += 1
        order.values.append(
            laboratory_value(
                self.sender,
                self.delimiters.plain(code),
                said,
                unit=self.delimiters.plain(field_at(fields, 5)),
                reference_range=self.delimiters.plain(field_at(fields, 6)),
                flags=field_at(fields, 7).split(self.delimiters.repeat),
                status=STATUSES.get(status, status),
                obtained=status != NOT_DONE,
            )
        )

    def _parts(self, fields: list[str], number: int) -> list[str]:
        return [part.strip() for part in field_at(fields, number).split(self.delimiters.component)]

    def _components(self, text: str) -> list[str]:
        return [part.strip() for part in text.split(self.delimiters.component) if part.strip()]


class Driver:
    about: ClassVar[About] = About(
        title_zh="检验分析仪（ASTM）",
        title_en="Analyser (ASTM)",
        models=("ASTM E1381/E1394 (CLSI LIS1-A/LIS2-A2) analysers",),
        metrics=tuple(Metric(row.key, None, row.loinc, row.ucum) for row in analytes().values()),
        line=(TcpListener(), SerialLine(9600)),
        source="ASTM E1381-02, E1394-97; hardware/protocols/astm_analyser.md",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ACK, NAK)

    def __init__(self) -> None:
        self.counters = Counters()
        self._receiver = AstmReceiver(self.counters)
        self._message: Message | None = None
        self._unstored = False
        """Results were told since the last answer."""
        self._fault: str | None = None

    def open(self) -> Output:
        self._receiver.reset()
        self._message = None
        self._fault = None
        return Output(events=[self._state()])

    def close(self) -> Output:
        self._receiver.reset()
        self._message = None
        return Output()

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        return self._heard(self._receiver.feed(chunk))

    def tick(self, elapsed_s: float) -> Output:
        return self._heard(self._receiver.tick(elapsed_s))

    def _heard(self, received: Iterable[Received]) -> Output:
        output = Output()
        for one in received:
            if isinstance(one, Answer):
                output.writes.append(Write(one.payload, after_stored=self._unstored))
                self._unstored = False
            elif isinstance(one, Record):
                self._record(decoded(one.text), output)
            elif isinstance(one, Ended):
                self._ended(one, output)
        return output

    def _record(self, text: str, output: Output) -> None:
        if text[:1] == "H":
            self._tell(output)
            self._message = Message()
        if self._message is None:
            self._message = Message()
        if self._message.add(text):
            self._tell(output)
        elif self._message.full:
            self._tell_held(self._message, output)

    def _ended(self, ended: Ended, output: Output) -> None:
        """After a break the sender begins anew with the whole message: the half one is not told."""
        if ended.in_order:
            self._tell(output)
        fault = None if ended.in_order else "analyser_interrupted"
        self._message = None
        if fault != self._fault:
            self._fault = fault
            output.events.append(self._state())

    def _tell(self, output: Output) -> None:
        message, self._message = self._message, None
        if message is not None:
            self._tell_held(message, output)

    def _tell_held(self, message: Message, output: Output) -> None:
        results = message.take()
        self._unstored = self._unstored or bool(results)
        output.events += results

    def _state(self) -> DeviceState:
        return DeviceState(Link.CONNECTED, Sensor.UNKNOWN, fault=self._fault)
