"""The conversation with an ESC/POS printer, sans-I/O: asks how it is, sends a slip when it can, hears when it is done.

As a driver, it is fed bytes and ticks and yields bytes; it never opens, sleeps or reads a clock. A printer that answers
is asked all the time; a slip goes out while nothing is wrong, and counts as printed when the printer has said that it
processed all of it. Paper that ends in between is no end: the printer keeps what it has and goes on with new paper. A
printer that never answers is sent the slip, and that is all that can be known.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from devices import escpos
from devices.escpos import Ask, Status

ROUND_S = 1.0
"""How often a printer is asked; a round is one question after the other."""
ANSWER_WITHIN_S = 1.0
DEAF_AFTER_QUESTIONS = 3
"""Unanswered in a row: a printer that never answered has no way back; one that did is switched off."""
CONFIRM_WITHIN_S = 20.0
"""After the last byte, while nothing is wrong: cheap printers do not know GS r. A slip of 15 cm takes 3 s."""
CHUNK_BYTES = 512
"""At 9600 baud half a second: a port's write never takes longer."""
_ROUND = (Ask.PRINTER, Ask.OFFLINE, Ask.ERROR, Ask.PAPER)


class Outcome(StrEnum):
    PRINTED = "printed"
    """The printer said that it has processed all of it."""
    SENT = "sent"
    """Sent in whole; this printer does not say whether it came out."""


class Conversation:
    """One printer over one link. ``print`` one slip at a time; ``outcome`` says when it is done.

    :param answers: whether this printer answers when it is on; None: found out by asking
    """

    def __init__(self, answers: bool | None = None) -> None:
        self.status = Status()
        self.two_way = answers
        """Whether the printer answers; None: not known yet."""
        self.silent = False
        """It should answer and does not: switched off, or the cable is out."""
        self.outcome: Outcome | None = None
        """Of the last slip; None while it is under way and before the first."""
        self._out: deque[bytes] = deque()
        self._confirming = False
        self._waited_s = 0.0
        self._asked: Ask | None = None
        self._asked_s = 0.0
        self._unanswered = 0
        self._round: deque[Ask] = deque(_ROUND)
        self._paused_s = 0.0

    @property
    def fault(self) -> str | None:
        """The error code of what keeps it from printing."""
        return "printer_silent" if self.silent else self.status.fault

    @property
    def ready(self) -> bool:
        """Nothing is under way, nothing is wrong, and it has been asked about its paper."""
        known = self.two_way is False or self.status.paper_out is not None
        return known and self.fault is None and not self.busy

    @property
    def busy(self) -> bool:
        return bool(self._out) or self._confirming

    def print(self, payload: bytes) -> None:
        """Begin with one slip; only when ``ready``.

        :raises RuntimeError: not ready
        """
        if not self.ready:
            raise RuntimeError("the printer is not ready")
        self.outcome = None
        self._out.extend(payload[at : at + CHUNK_BYTES] for at in range(0, len(payload), CHUNK_BYTES))

    def feed(self, chunk: bytes) -> None:
        """What the printer said, cut anywhere; never raises for any bytes."""
        for byte in chunk:
            if self._asked is not None and escpos.is_real_time_answer(byte):
                self.status = escpos.with_answer(self.status, self._asked, byte)
                self._asked, self._unanswered = None, 0
                self.two_way, self.silent = True, False
            elif self._confirming and escpos.is_processed_answer(byte):
                self._finish(Outcome.PRINTED)

    def tick(self, elapsed_s: float) -> bytes:
        """What is to be sent now: a piece of the slip, or a question, or nothing."""
        self._look_at_answers(elapsed_s)
        if self._out:
            return self._next_piece()
        if self._confirming:
            self._waited_s = 0.0 if self.fault else self._waited_s + elapsed_s
            if self._waited_s >= CONFIRM_WITHIN_S:
                self._finish(Outcome.SENT)
        return self._next_question(elapsed_s)

    def _next_piece(self) -> bytes:
        piece = self._out.popleft()
        if not self._out:
            if not self.two_way:
                self._finish(Outcome.SENT)
                return piece
            self._confirming, self._waited_s = True, 0.0
            piece += escpos.ASK_PROCESSED
        return piece

    def _finish(self, outcome: Outcome) -> None:
        self._confirming = False
        self.outcome = outcome

    def _look_at_answers(self, elapsed_s: float) -> None:
        if self._asked is None:
            return
        self._asked_s += elapsed_s
        if self._asked_s < ANSWER_WITHIN_S:
            return
        self._asked = None
        self._unanswered += 1
        if self._unanswered >= DEAF_AFTER_QUESTIONS:
            if self.two_way:
                self.silent = True
            else:
                self.two_way = False

    def _next_question(self, elapsed_s: float) -> bytes:
        if self._asked is not None:
            return b""
        if not self._round:
            self._paused_s += elapsed_s
            if self._paused_s < ROUND_S:
                return b""
            self._round, self._paused_s = deque(_ROUND), 0.0
        self._asked, self._asked_s = self._round.popleft(), 0.0
        return escpos.ask(self._asked)
