"""Which lost packets are worth sending again (RFC 4585, 6.2.1 leaves it to the sender)."""

from __future__ import annotations

from collections import OrderedDict

AGE_S = 1.0
AGAIN_AFTER_RTTS, AGAIN_AFTER_LEAST_S = 0.8, 0.03
PACKETS_KEPT = 1024
LATE_PACKETS = 500


class RetransmissionLimit:
    """Each packet once per 0.8 round trips, none older than a second, none from before the link came back: that
    picture begins anew anyway."""

    def __init__(self) -> None:
        self._packets: OrderedDict[int, tuple[float, float, int]] = OrderedDict()
        """RTP sequence number -> (first sent, last sent, bytes)"""

    def sent(self, sequence_number: int, size_bytes: int, now_s: float) -> None:
        self._packets.pop(sequence_number, None)
        self._packets[sequence_number] = (now_s, now_s, size_bytes)
        if len(self._packets) > PACKETS_KEPT:
            self._packets.popitem(last=False)

    def __len__(self) -> int:
        return len(self._packets)

    def largest(self, size_bytes: int, most: int) -> list[int]:
        """Sequence numbers of the largest packets of late, ``size_bytes`` together or ``most`` of them."""
        late = list(self._packets.items())[-LATE_PACKETS:]
        chosen, total = [], 0
        for number, (_, _, size) in sorted(late, key=lambda item: -item[1][2])[:most]:
            if total >= size_bytes:
                break
            chosen.append(number)
            total += size
        return chosen

    def may_repeat(self, sequence_number: int, now_s: float, rtt_s: float, resumed_s: float) -> bool:
        """Whether to send it again now; True counts as sent."""
        times = self._packets.get(sequence_number)
        if times is None:
            return False
        first_s, last_s, size_bytes = times
        apart_s = max(AGAIN_AFTER_LEAST_S, AGAIN_AFTER_RTTS * rtt_s)
        if now_s - first_s > AGE_S or first_s < resumed_s or now_s - last_s < apart_s:
            return False
        self._packets[sequence_number] = (first_s, now_s, size_bytes)
        return True
