"""Twin of an analyser that sends by ASTM E1381/E1394, with the faults that real links have.

The sender of the standard: ENQ, frames of at most 240 characters one at a time, EOT. No answer within 15 s ends the
transmission; it begins anew after 10 s, the whole message. Six times NAK does the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from devices.astm import ACK, ENQ, EOT, NAK, STX, frame
from devices.simulators.analyser_report import SpecimenReport

TEXT_BYTES = 240
ANSWER_LIMIT_S = 15.0
NEXT_TRY_S = 10.0
MOST_NAKS = 6
SPECIAL = {"&": "&E&", "|": "&F&", "^": "&S&", "\\": "&R&"}


@dataclass(slots=True)
class Faults:
    """How often each is still to happen."""

    wrong_checksum: int = 0
    """A frame spoiled on the way."""
    unheard_ack: int = 0
    """An ACK that the analyser did not get: it waits, then begins anew."""
    frame_twice: int = 0
    """A frame sent again although it was acknowledged."""
    enq_again: int = 0
    """ENQ in the middle of a transmission: the analyser was switched off and on."""
    cut_frame: int = 0
    """The line goes quiet in the middle of a frame."""


def records(report: SpecimenReport, sender: str = "TwinLab^XP-300^1.0") -> list[str]:
    """The records of one message."""
    mode = "Q" if report.control else "P"
    lines = [f"H|\\^&|||{sender}|||||||{mode}|E1394-97|{report.said_at}"]
    lines.append(f"P|1||||{escaped(report.person)}")
    number = f"^^{escaped(report.specimen)}^A" if "XP-" in sender else escaped(report.specimen)
    lines.append(f"O|1||{number}|^^^ALL|||||||{'Q' if report.control else 'N'}")
    for n, found in enumerate(report.found, start=1):
        flags = "\\".join(found.flags)
        lines.append(
            f"R|{n}|^^^^{escaped(found.code)}^1|{escaped(found.said)}|{escaped(found.unit)}|{found.reference_range}"
            f"|{flags}||F||||{report.said_at}"
        )
    return [*lines, "L|1|N"]


def escaped(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)


@dataclass(slots=True)
class AstmAnalyserTwin:
    """:ivar delivered: messages that were acknowledged to the end"""

    sender: str = "TwinLab^XP-300^1.0"
    faults: Faults = field(default_factory=Faults)
    delivered: int = 0
    naks: int = 0
    _messages: deque[list[bytes]] = field(default_factory=deque)
    _frames: list[bytes] = field(default_factory=list)
    _sent: int | None = None
    """Index of the frame that waits for its answer; -1: ENQ does; None: nothing is going on."""
    _tries: int = 0
    _waited_s: float = 0.0
    _pause_s: float = 0.0

    @property
    def streaming(self) -> bool:
        return False

    @property
    def waiting(self) -> int:
        """Messages that are not delivered yet."""
        return len(self._messages)

    def report(self, report: SpecimenReport, charset: str = "utf-8") -> None:
        """The measurement is done: it is sent as soon as the line is free."""
        self.send([record.encode(charset) for record in records(report, self.sender)])

    def send(self, message: list[bytes]) -> None:
        """Records as they are, without their CR."""
        frames = []
        for record in message:
            text = record + b"\r"
            pieces = [text[i : i + TEXT_BYTES] for i in range(0, len(text), TEXT_BYTES)]
            frames += [(piece, piece is pieces[-1]) for piece in pieces]
        self._messages.append([frame(n, piece, last) for n, (piece, last) in enumerate(frames, start=1)])

    def power_on(self) -> None:
        self._sent, self._pause_s = None, 0.0

    def receive(self, chunk: bytes) -> bytes:
        answer = b""
        for value in chunk:
            answer += self._answered(bytes((value,)))
        return answer

    def advance(self, elapsed_s: float) -> bytes:
        if self._sent is None:
            self._pause_s -= elapsed_s
            return self._begin() if self._messages and self._pause_s <= 0 else b""
        self._waited_s += elapsed_s
        if self._waited_s < ANSWER_LIMIT_S:
            return b""
        return self._give_up()

    def _begin(self) -> bytes:
        self._frames, self._sent, self._tries, self._waited_s = self._messages[0], -1, 0, 0.0
        return ENQ

    def _give_up(self) -> bytes:
        self._sent, self._pause_s = None, NEXT_TRY_S
        return EOT

    def _answered(self, byte: bytes) -> bytes:
        if self._sent is None or byte not in (ACK, NAK):
            return b""
        self._waited_s = 0.0
        if byte == NAK:
            self.naks += 1
            self._tries += 1
            return self._give_up() if self._tries >= MOST_NAKS or self._sent < 0 else self._frame(self._sent)
        if self._sent >= 0 and self._take("unheard_ack"):
            return b""
        if self._sent >= 0 and self._take("enq_again"):
            return self._begin()
        if self._sent >= 0 and self._take("frame_twice"):
            return self._frame(self._sent)
        self._sent, self._tries = self._sent + 1, 0
        if self._sent < len(self._frames):
            return self._frame(self._sent)
        self._sent = None
        self._messages.popleft()
        self.delivered += 1
        return EOT

    def _frame(self, index: int) -> bytes:
        whole = self._frames[index]
        if self._take("cut_frame"):
            return whole[: len(whole) // 2]
        if self._take("wrong_checksum"):
            return STX + bytes((whole[1],)) + bytes((whole[2] ^ 1,)) + whole[3:]
        return whole

    def _take(self, fault: str) -> bool:
        left = getattr(self.faults, fault)
        if left:
            setattr(self.faults, fault, left - 1)
        return bool(left)
