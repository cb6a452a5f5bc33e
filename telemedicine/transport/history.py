"""What was sent on one connection and is not yet known to have arrived."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from telemedicine.transport.feedback import (
    REFERENCE_STEP_S,
    REFERENCE_WRAP,
    SEQUENCE_WRAP,
    Feedback,
    Unwrapper,
)

MOST_PACKETS = 8192
FORGOTTEN_AFTER_S = 4.0
"""A packet that nobody reported for so long is no longer in flight."""
KEPT_FOR_S = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that left at ``sent_s`` (our clock) with ``size_bytes`` on the wire."""

    number: int
    sent_s: float
    size_bytes: int
    padding: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packet: ``arrived_s`` on the receiver's clock (unwrapped), None when it had not arrived."""

    sent: Sent
    arrived_s: float | None


class SendHistory:
    """Transport-wide numbers are given here, in the order of departure, so feedback comes in that order too."""

    def __init__(self) -> None:
        self._outstanding: OrderedDict[int, Sent] = OrderedDict()
        self._next = 0
        self._given_up_before = 0
        self._references = Unwrapper(REFERENCE_WRAP)
        self.in_flight_bytes = 0
        self.last_sent_s: float | None = None

    def add(self, now_s: float, size_bytes: int, padding: bool = False) -> int:
        """The transport-wide sequence number (modulo 2^16) for a packet that leaves now."""
        number = self._next
        self._next += 1
        self._outstanding[number] = Sent(number, now_s, size_bytes, padding)
        self.in_flight_bytes += size_bytes
        self.last_sent_s = now_s
        if len(self._outstanding) > MOST_PACKETS:
            self._drop(next(iter(self._outstanding)))
        return number % SEQUENCE_WRAP

    @property
    def oldest_s(self) -> float | None:
        """When the oldest packet was sent that is not known to have arrived or to be lost."""
        oldest = next(iter(self._outstanding.values()), None)
        return None if oldest is None else oldest.sent_s

    def acknowledge(self, feedback: Feedback) -> list[Outcome]:
        """The outcomes that ``feedback`` tells, in order of departure; each packet has one outcome only.

        Packets before its first one that no message told about (the message was lost) leave the flight unjudged; so do
        those that were given up and have not arrived.
        """
        if not self._next:
            return []
        # feedback is about the last 2^15 packets; "now" may be after ours only when somebody invents it
        back = (self._next - 1 - feedback.first_sequence_number) % SEQUENCE_WRAP
        first = self._next - 1 - back
        reference_s = self._references.unwrap(feedback.reference_time) * REFERENCE_STEP_S
        outcomes: list[Outcome] = []
        for offset, arrived_s in enumerate(feedback.arrivals):
            sent = self._drop(first + offset)
            if sent is not None and (arrived_s is not None or sent.number >= self._given_up_before):
                outcomes.append(Outcome(sent, None if arrived_s is None else reference_s + arrived_s))
        if outcomes:
            while self._outstanding and next(iter(self._outstanding)) < first:
                self._drop(next(iter(self._outstanding)))
        return outcomes

    def forget_old(self, now_s: float) -> None:
        """Take out of the flight what nobody will report any more; of what comes all the same it is still told how late
        it was."""
        while self._given_up_before < self._next:
            sent = self._outstanding.get(self._given_up_before)
            if sent is not None and now_s - sent.sent_s < FORGOTTEN_AFTER_S:
                break
            self.in_flight_bytes -= sent.size_bytes if sent is not None else 0
            self._given_up_before += 1
        while self._outstanding and now_s - next(iter(self._outstanding.values())).sent_s > KEPT_FOR_S:
            self._outstanding.popitem(last=False)

    def give_up(self) -> None:
        """Everything in flight is given up, e.g. after an outage; what arrives of it all the same is still told."""
        self._given_up_before = self._next
        self.in_flight_bytes = 0

    def _drop(self, number: int) -> Sent | None:
        sent = self._outstanding.pop(number, None)
        if sent is not None and number >= self._given_up_before:
            self.in_flight_bytes -= sent.size_bytes
        return sent
