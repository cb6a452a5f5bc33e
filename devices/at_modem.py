"""A cellular modem on its AT port, sans-I/O: questions in turn, lines of answers, nothing that changes the modem.

The conversation is that of 3GPP TS 27.007 and ITU-T V.250: one command at a time, ended by CR; information lines, then
a final result code (OK, ERROR, +CME ERROR: <n>). Echo may be on or off. Unsolicited result codes may come between any
two lines and are read like answers. What is particular to a maker stands in its driver: the questions and how the
lines about serving cells are read.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from devices.driver import Counters, Output, Write
from devices.readings import Cellular, DeviceState, Link, Sensor, ServingCell

LONGEST_LINE = 512
ANSWER_WITHIN_S = 5.0
"""TS 27.007 read commands answer within 300 ms; a modem that is registering may hold the port longer."""
ASK_EVERY_S = 10.0
SIM_ABSENT = ("10", "sim not inserted")
"""+CME ERROR of TS 27.007 clause 9.2, as a number or in words: which of both, AT+CMEE says, and we do not change it."""
REGISTRATIONS = {0: "none", 1: "home", 2: "searching", 3: "denied", 4: "unknown", 5: "roaming"}
"""<stat> of +CEREG and +C5GREG; 6 and above are services without data: "limited"."""
_BEST_FIRST = ("home", "roaming", "searching", "limited", "denied", "none", "unknown")
_FINAL = re.compile(r"OK|ERROR|\+CM[ES] ERROR:.{1,80}")
_HEX = re.compile(r"[0-9A-Fa-f]{1,16}")
_UNKNOWN = re.compile(r"0*[Ff]{4,}")
_PLMN = re.compile(r"\d{1,3}")


class LineReader:
    """Bytes cut anywhere to lines: ended by CR or LF, printable ASCII, without the blank ones."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._held = bytearray()
        self._overlong = False

    def reset(self) -> None:
        """Drop the half line: the port is given up, or opened anew."""
        self._counters.dropped_bytes += len(self._held)
        self._held.clear()
        self._overlong = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        *ends, rest = re.split(rb"[\r\n]", chunk)
        for end in ends:
            self._hold(end)
            line, overlong = bytes(self._held), self._overlong
            self._held.clear()
            self._overlong = False
            if overlong or not all(0x20 <= byte < 0x7F for byte in line):
                self._counters.resyncs += 1
                self._counters.dropped_bytes += len(line)
            elif text := line.strip().decode("ascii"):
                yield text
        self._hold(rest)

    def _hold(self, piece: bytes) -> None:
        room = LONGEST_LINE - len(self._held)
        self._held += piece[:room]
        if len(piece) > room:
            self._overlong = True
            self._counters.dropped_bytes += len(piece) - room


@dataclass(slots=True)
class Heard:
    """What one round of questions has brought so far."""

    sim: str | None = None
    registrations: dict[str, str] = field(default_factory=dict)
    operator: str | None = None
    lte: ServingCell | None = None
    nr: ServingCell | None = None
    older: str | None = None
    """"umts" or "gsm" where that is what serves."""
    carriers: int = 0

    def cellular(self) -> Cellular:
        found = [self.registrations[name] for name in sorted(self.registrations)]
        registration = min(found, key=_BEST_FIRST.index, default="unknown")
        cells = tuple(cell for cell in (self.lte, self.nr) if cell is not None)
        return Cellular(
            sim=self.sim,
            registration=registration,
            technology=self._technology(),
            operator=self.operator,
            cells=cells,
            carriers=self.carriers or None,
        )

    def _technology(self) -> str | None:
        if self.nr is not None:
            return "nr_sa" if self.lte is None else "nr_nsa"
        return "lte" if self.lte is not None else self.older


class AtModem(ABC):
    """Drives the questions of a maker's driver; see ``devices.driver.DriverContract``."""

    questions: ClassVar[tuple[str, ...]]
    """Commands without their CR, asked in this order every ``ASK_EVERY_S``."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._lines = LineReader(self.counters)
        self._asked: int | None = None
        self._waited_s = 0.0
        self._answered = 0
        self.heard = Heard()
        self._told: DeviceState | None = None
        self._told_cellular = False

    def open(self) -> Output:
        self._lines.reset()
        self._told = None
        self._told_cellular = False
        output = Output()
        self._begin(output)
        return output

    def close(self) -> Output:
        """Without a modem nothing is known of the network any more."""
        self._lines.reset()
        self._asked = None
        output = Output()
        if self._told_cellular:
            self._told_cellular = False
            output.events.append(Cellular())
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for line in self._lines.feed(chunk):
            self._take(line, output)
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        self._waited_s += elapsed_s
        if self._asked is None:
            if self._waited_s >= ASK_EVERY_S:
                self._begin(output)
        elif self._waited_s >= ANSWER_WITHIN_S:
            self.counters.gaps += 1
            self._next(output)
        return output

    @abstractmethod
    def take_information(self, line: str) -> bool:
        """Read a line of this maker into ``self.heard``; whether it was one."""

    def _begin(self, output: Output) -> None:
        self.heard = Heard()
        self._answered = 0
        self._ask(0, output)

    def _ask(self, which: int, output: Output) -> None:
        self._asked = which
        self._waited_s = 0.0
        output.writes.append(Write(self.questions[which].encode() + b"\r"))

    def _take(self, line: str, output: Output) -> None:
        if line.startswith("AT"):
            return  # our own words come back: echo is on
        if _FINAL.fullmatch(line):
            self.counters.frames += 1
            if self._asked is not None:
                self._finished(line, output)
        elif self._take_common(line) or self.take_information(line):
            self.counters.frames += 1

    def _finished(self, final: str, output: Output) -> None:
        self._answered += 1
        if self._asked is not None and self.questions[self._asked] == "AT+CPIN?" and final != "OK":
            self.heard.sim = _sim_of_error(final)
        self._next(output)

    def _next(self, output: Output) -> None:
        assert self._asked is not None
        if self._asked + 1 < len(self.questions):
            self._ask(self._asked + 1, output)
            return
        self._asked = None
        self._waited_s = 0.0
        if self._answered:
            self._tell(output)

    def _tell(self, output: Output) -> None:
        cellular = self.heard.cellular()
        state = DeviceState(Link.CONNECTED, *_sensor_and_fault(cellular))
        if state != self._told:
            self._told = state
            output.events.append(state)
        self._told_cellular = True
        output.events.append(cellular)

    def _take_common(self, line: str) -> bool:
        """TS 27.007: +CPIN, +COPS, +CEREG, +C5GREG."""
        name, colon, rest = line.partition(":")
        if not colon:
            return False
        fields = fields_of(rest)
        if name == "+CPIN":
            self.heard.sim = _sim_of(rest.strip())
        elif name in ("+CEREG", "+C5GREG"):
            return self._registered(name, rest, fields)
        elif name == "+COPS" and len(fields) >= 3:
            self.heard.operator = fields[2][:32] or None
        else:
            return False
        return True

    def _registered(self, name: str, rest: str, fields: Sequence[str]) -> bool:
        """Answer "<n>,<stat>..." or unsolicited "<stat>[,<tac>...]": there the second field is a quoted number."""
        raw = [part.strip() for part in rest.split(",")]
        said = fields[1] if len(raw) > 1 and raw[1].isdecimal() else fields[0]
        if not (said.isdecimal() and len(said) <= 2):
            return False
        self.heard.registrations[name] = REGISTRATIONS.get(int(said), "limited")
        return True


def _sensor_and_fault(cellular: Cellular) -> tuple[Sensor, tuple[str, ...], int | None, str | None]:
    if cellular.sim in ("absent", "pin", "puk"):
        return Sensor.ERROR, (), None, "sim_absent" if cellular.sim == "absent" else "sim_locked"
    registered = cellular.registration in ("home", "roaming") or bool(cellular.cells)
    return Sensor.OK if registered else Sensor.SEARCHING, (), None, None


def _sim_of(said: str) -> str:
    """+CPIN, TS 27.007 clause 8.3."""
    if said == "READY":
        return "ready"
    if said.startswith("SIM PUK"):
        return "puk"
    return "pin" if said.startswith("SIM PIN") else "not_ready"


def _sim_of_error(final: str) -> str:
    said = final.rpartition(":")[2].strip()
    return "absent" if said.casefold() in SIM_ABSENT else "not_ready"


def fields_of(rest: str) -> list[str]:
    """The fields of an information line without blanks and quotes; commas in quotes do not occur in what we ask."""
    return [part.strip().strip('"').strip() for part in rest.split(",")]


def at(fields: Sequence[str], index: int) -> str:
    """The field, empty where the line is shorter."""
    return fields[index] if index < len(fields) else ""


def number(said: str, least: float, most: float) -> int | None:
    """A whole number within its range; "-", empty, a special value and anything else is None."""
    if not re.fullmatch(r"-?\d{1,9}", said):
        return None
    value = int(said)
    return value if least <= value <= most else None


def hexadecimal(said: str, bits: int) -> str | None:
    """Upper case without leading zeros; all ones, which means "unknown", and anything too wide is None."""
    if not _HEX.fullmatch(said):
        return None
    value = int(said, 16)
    return f"{value:X}" if value < (1 << bits) - 1 and not _UNKNOWN.fullmatch(said) else None


def network_code(mcc: str, mnc: str) -> tuple[str | None, str | None]:
    """(MCC of three digits, MNC of at least two): some modems cut leading zeros."""
    if not (_PLMN.fullmatch(mcc) and _PLMN.fullmatch(mnc)):
        return None, None
    return mcc.zfill(3), mnc.zfill(2)


def filled(cell: ServingCell, rsrp_dbm: float | None, rsrq_db: float | None, sinr_db: float | None) -> ServingCell:
    """The cell with what it had not said itself."""
    return replace(
        cell,
        rsrp_dbm=cell.rsrp_dbm if cell.rsrp_dbm is not None else rsrp_dbm,
        rsrq_db=cell.rsrq_db if cell.rsrq_db is not None else rsrq_db,
        sinr_db=cell.sinr_db if cell.sinr_db is not None else sinr_db,
    )
