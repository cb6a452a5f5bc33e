"""The van's uplink as one thing: what is known of it, how fast it is filled, and what leaves next. Pure.

All connections share the radio, so they share one rate, one pacer and one budget (``rate_control``, ``pacer``,
``budget``). A connection whose packets wait longer than everybody else's has a bottleneck of its own and gets a limit
of its own; the others do not slow down for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from telemedicine.transport.budget import Demand, divide
from telemedicine.transport.delay import Usage
from telemedicine.transport.feedback import Feedback
from telemedicine.transport.monitor import PathMonitor, Signals
from telemedicine.transport.narrow import NarrowLink
from telemedicine.transport.pacer import Pacer, Queued
from telemedicine.transport.path import RESUMING_S, Path, PathState
from telemedicine.transport.rate_control import HIGH_QUEUE_S, STEP_SHARE, RateControl

FIRST_BIT_S, LEAST_BIT_S, MOST_BIT_S = 2_000_000.0, 220_000.0, 12_000_000.0
RETRANSMISSION_RANK = 0
RANKS = 4
"""Retransmissions, then the streams by their own rank + 1."""
PACING, PACING_FASTER, PACING_BEYOND, PACING_MOST, PACING_DRAINING = 2.5, 1.6, 1.25, 5.0, 1.1
SKIP_BACKLOG_S = 0.060
LAGGING_S = 0.5
SIGNALS_AGE_S = 0.5
DATA_RESERVE_BIT_S = 50_000.0
"""ECG, pleth and vitals of one viewer; they leave beside the pacer, before everything else."""
NARROW_MOST_BIT_S = 110_000.0
"""Of a link without pictures no more is claimed: what it carried was measured in a full queue."""
AFTER_OUTAGE_BIT_S = 2_500_000.0
LONG_GONE_S, OLD_NEWS_S = 1.0, 0.5
STANDING_QUEUE_S = 0.3
"""A link from which packets come that have waited so long was not gone, it is slow: what is on its way is not lost."""
SILENT_BIT_S = 280_000.0
"""While nobody is heard pictures are made for so much: few may be sent, and the first one is a key frame."""
KEPT_BYTES = 4_000
"""Of a connection that falls silent so much is still sent: less than the key frame that throwing it away would cost."""
PACING_RESUMING = 4.0
PICTURE_SHARE = 0.94
"""Of a stream's bits on the wire, what the encoder may fill: the rest is RTP, SRTP, UDP and IP."""
PROBE_BYTES, NARROW_PROBE_BYTES, PROBE_BIT_S = 4_500, 3_600, 4_000_000.0
"""A probe leaves at once, or on a slow link its packets would be too far apart to be a train."""
DOUBLED_ABOVE, DOUBLED_UNTIL_BELOW, DOUBLED_FOR_S = 0.02, 0.006, 5.0
DOUBLED_SHARE = 0.66
"""Every packet twice where so much is lost, and each picture of so much less: fewer packets, fewer to lose twice."""
SPARE = 1.05
"""The rate may be this much more than all streams together can use."""
OWN_LIMIT_SLACK = 1.5
RESUME_MARGIN = 1.25
"""A paused stream begins again only when there is this much more than it needs, so that it does not flap."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Stream:
    """One encoding. Rank 0 goes before rank 1; rates on the wire."""

    name: str
    rank: int
    weight: float
    least_bit_s: float
    most_bit_s: float


class Uplink(Generic[P]):
    """All times in seconds on the caller's monotonic clock. ``P`` is whatever the caller sends."""

    def __init__(self, now_s: float, first_bit_s: float = FIRST_BIT_S, most_bit_s: float = MOST_BIT_S) -> None:
        self.control = RateControl(first_bit_s, LEAST_BIT_S, most_bit_s)
        self._narrow = NarrowLink()
        self._most_bit_s = most_bit_s
        self._pacer: Pacer[P] = Pacer(RANKS, now_s)
        self._streams: dict[str, Stream] = {}
        self._paths: dict[str, Path] = {}
        self._rates: dict[str, float] = {}
        self._capacity_bit_s: float | None = None
        self._stretched = False
        self._doubled_s: float | None = None
        self._useful_bit_s = 0.0

    # who is there

    def add_stream(self, stream: Stream) -> None:
        self._streams[stream.name] = stream
        self._divide()

    def add_path(self, name: str, streams: Iterable[str], now_s: float) -> None:
        """A connection that is shown ``streams``."""
        self._paths[name] = Path(PathMonitor(now_s), frozenset(streams))
        self._divide()

    def remove_path(self, name: str) -> None:
        self._pacer.drop(path=name)
        self._paths.pop(name, None)
        self._divide()

    def state(self, path: str) -> PathState:
        return self._paths[path].state

    def monitor(self, path: str) -> PathMonitor:
        return self._paths[path].monitor

    def resumed_s(self, path: str) -> float:
        """When the connection last came back; what was sent before is not worth repeating."""
        return self._paths[path].resumed_s

    @property
    def target_bit_s(self) -> float:
        """What the link is good for, with voice and data; on a narrow link less than any picture needs."""
        if not self._narrow.narrow:
            return self.control.target_bit_s
        live = sum(path.live for path in self._paths.values())
        return min(NARROW_MOST_BIT_S, self._narrow.carried_bit_s + live * DATA_RESERVE_BIT_S)

    # what the encoders may do

    def picture_bit_s(self, stream: str, path: str | None = None) -> float:
        """What an encoder of ``stream`` may make, bit/s; 0: pause it. For ``path`` alone, or what every viewer of it
        can take."""
        rate = self._rates.get(stream, 0.0) * PICTURE_SHARE
        if path is not None:
            return rate * self._paths[path].share
        return rate * min((each.share for each in self._paths.values() if stream in each.streams), default=1.0)

    def watched(self, stream: str) -> bool:
        """Whether anybody is there whom a picture would reach, or might."""
        heard = any(stream in path.streams and not path.silent for path in self._paths.values())
        return heard or bool(self._trickling(stream))

    def may_encode(self, stream: str, now_s: float) -> bool:
        """Whether a picture captured now would leave soon; if not, the next one will be newer."""
        if self._rates.get(stream, 0.0) <= 0:
            return False
        paths = [path for path in self._paths.values() if stream in path.streams and not path.silent]
        if not paths:
            return any(path.may_trickle(stream, now_s) for path in self._trickling(stream))
        if all(self._window_full(path, now_s) for path in paths):
            return False
        backlog_s = self._pacer.backlog_bytes(self._streams[stream].rank + 1) * 8 / self.control.target_bit_s
        return backlog_s < SKIP_BACKLOG_S

    # what leaves

    def put(
        self,
        path: str,
        stream: str,
        size_bytes: int,
        packet: P,
        now_s: float,
        again: bool = False,
        padding: bool = False,
    ) -> bool:
        """Queue a packet of a picture; False when the connection is silent.

        :param again: a retransmission
        :param padding: sent only to feel the link, see ``probe``
        """
        its = self._paths[path]
        if its.silent:
            if again or its not in self._trickling(stream):
                its.broken |= not again
                return False
            its.trickle(stream, size_bytes, now_s)
        rank = RETRANSMISSION_RANK if again else self._streams[stream].rank + 1
        self._pacer.put(Queued(path, stream, rank, size_bytes, now_s, packet, padding))
        return True

    @property
    def doubled(self) -> bool:
        """Each picture is to be sent twice, the copy right after it: the radio loses packets and has room. A packet
        lost is then there without a round trip, and a burst of losses takes one copy only."""
        return self._doubled_s is not None

    @property
    def probe_bytes(self) -> int:
        """How much a probe is now."""
        return NARROW_PROBE_BYTES if self._narrow.narrow else PROBE_BYTES

    def probe(self, now_s: float) -> str | None:
        """The connection on which ``probe_bytes`` of retransmissions are to be put as ``padding`` now.

        Only where pictures are too small to be trains themselves, the link is idle and there is use for more; so few
        packets that a link that has nothing more to give is held up for a moment only, and then longer not asked.
        """
        live = [name for name, path in self._paths.items() if path.live and path.signals is not None]
        narrow = self._narrow.narrow
        wanted = self._narrow.wants_probe(now_s, self.probe_bytes) if narrow else self.control.wants_probe(now_s)
        if not live or len(self._pacer) or not wanted:
            return None
        self._narrow.probed(now_s)
        self.control.probed(now_s)
        return live[0]

    def urgent(self, path: str, size_bytes: int, now_s: float) -> int | None:
        """The transport-wide number for a packet of sound that leaves at once; None: it would come too late."""
        its = self._paths[path]
        if not its.sound_useful(now_s):
            return None
        if its.spend_urgent(size_bytes, now_s):
            self._divide()
        self._pacer.spend(size_bytes)
        return its.monitor.sent(now_s, size_bytes)

    def depart(self, now_s: float) -> tuple[Queued[P], int] | None:
        """The next packet that leaves now and its transport-wide number; None: nothing before ``wait_s``."""
        self._pacer.rate_bit_s = self._pace_bit_s(now_s)
        item = self._pacer.take(now_s, lambda item: not self._window_full(self._paths[item.path], now_s))
        if item is None:
            return None
        return item, self._paths[item.path].monitor.sent(now_s, item.size_bytes, item.padding)

    def wait_s(self) -> float | None:
        """When to ask ``depart`` again if nothing else happens; None while nothing is queued."""
        return self._pacer.wait_s() if len(self._pacer) else None

    # what comes back

    def on_feedback(self, path: str, feedback: Feedback, now_s: float) -> bool:
        """True when the connection has come back from silence."""
        its = self._paths[path]
        resumed = its.silent
        signals = its.monitor.on_feedback(feedback, now_s)
        if resumed and self._narrow.narrow and signals is not None and now_s - signals.as_of_s > OLD_NEWS_S:
            its.trickled_bytes = 0  # it has left the queue; whether there is room now is not known
            return False
        stands = resumed and signals is not None and signals.queue_s > STANDING_QUEUE_S
        if not its.live and not stands:
            self._come_back(its, now_s, resumed)
            return resumed
        its.state = PathState.LIVE
        if signals is None:
            return False
        its.signals = signals
        together = self._together(now_s)
        self._capacity_bit_s, self._stretched = together.capacity_bit_s, together.stretched
        self.control.update(together)
        least_rate = self.control.target_bit_s <= LEAST_BIT_S
        rates = (together.delivered_bit_s, together.recent_bit_s, together.capacity_bit_s)
        if self._narrow.update(together.as_of_s, together.queue_s, least_rate, *(rate or 0.0 for rate in rates)):
            self._throw_away(path)
        self._consider_doubling(together)
        self._limit_alone(its, together)
        self._divide()
        return resumed

    def overdue(self, path: str, now_s: float) -> bool:
        """Feedback is late: time to check the connection, before anything is decided."""
        its = self._paths[path]
        return not its.live or its.monitor.unheard_s(now_s) > its.monitor.overdue_s

    def on_check(self, path: str, asked_s: float, now_s: float) -> bool:
        """A connectivity check of ``asked_s`` was answered. True: as for ``on_feedback``."""
        its = self._paths[path]
        its.answered_s = asked_s
        if not its.silent:
            return False
        self._go_blind(its, now_s)
        return True

    def check_failed(self, path: str) -> None:
        """A check was not answered: blind sending has to stop."""
        its = self._paths[path]
        if its.state == PathState.BLIND:
            its.state = PathState.SILENT
            self._throw_away(path)

    def path_changed(self, path: str, now_s: float) -> None:
        """Our end has another address: until the other side is known to have heard of it, nothing is sent."""
        if self._paths[path].live:
            self._fall_silent(path, now_s, 0)

    def look(self, now_s: float) -> list[str]:
        """Every 20 to 50 ms: the connections that have just fallen silent."""
        fell = []
        for name, path in self._paths.items():
            if path.state == PathState.BLIND:
                path.monitor.history.give_up()
            elif path.live and path.monitor.silent(now_s):
                unheard_since_s = now_s - path.monitor.unheard_s(now_s)
                self._fall_silent(name, now_s, KEPT_BYTES)
                if path.answered_s > unheard_since_s:
                    self._go_blind(path, now_s)
                fell.append(name)
        return fell

    def due_key_frames(self, now_s: float) -> list[str]:
        """After anything else was told or asked: connections whose picture has to begin anew, each told once.

        Among them those whose packets have waited for half a second: their queue is thrown away.
        """
        due = []
        for name, path in self._paths.items():
            oldest_s = self._pacer.oldest_s(name)
            if oldest_s is not None and now_s - oldest_s > LAGGING_S:
                self._throw_away(name)
            reached = not path.silent or any(path in self._trickling(stream) for stream in path.streams)
            if path.broken and reached:
                path.broken = False
                due.append(name)
        return due

    def facts(self) -> dict[str, float]:
        """What is known of the link now; the worst of all connections."""
        seen = [path.signals for path in self._paths.values() if path.signals is not None]
        return {
            "queue_s": max((signals.queue_s for signals in seen), default=0.0),
            "jitter_s": max((signals.jitter_s for signals in seen), default=0.0),
            "lost": max((signals.lost for signals in seen), default=0.0),
            "rtt_s": max((path.monitor.smoothed_rtt_s for path in self._paths.values()), default=0.0),
            "interval_s": max((path.monitor.interval_s for path in self._paths.values()), default=0.0),
            "delivered_bit_s": sum(signals.delivered_bit_s or 0.0 for signals in seen),
            "capacity_bit_s": self._capacity_bit_s or 0.0,
        }

    # inside

    def _trickling(self, stream: str) -> list[Path]:
        """Who looks at ``stream``, when they all have just fallen silent; else nobody."""
        looking = [path for path in self._paths.values() if stream in path.streams]
        return looking if all(path.trickles for path in looking) else []

    def _throw_away(self, name: str) -> None:
        self._paths[name].broken |= self._pacer.drop(path=name) > 0

    def _fall_silent(self, name: str, now_s: float, kept_bytes: int) -> None:
        self._paths[name].fall_silent(now_s)
        if self._pacer.backlog_bytes(RANKS - 1, name) > kept_bytes:
            self._throw_away(name)
        self._divide()

    def _go_blind(self, path: Path, now_s: float) -> None:
        self._come_back(path, now_s, True)
        path.state = PathState.BLIND

    def _come_back(self, path: Path, now_s: float, resumed: bool) -> None:
        alone = not any(other.live for other in self._paths.values())
        if resumed and now_s - path.silent_since_s > LONG_GONE_S:
            self._narrow.link_was_gone(now_s)
        path.state, path.broken = PathState.LIVE, True
        path.monitor.restart()
        path.signals = None
        if resumed:
            path.resumed_s = now_s
        if alone and resumed:
            self.control.after_outage(now_s, AFTER_OUTAGE_BIT_S)
            self._divide()

    def _together(self, now_s: float) -> Signals:
        """The shared link as all live connections see it: only what they all suffer from is its doing."""
        seen = [
            path.signals
            for path in self._paths.values()
            if path.signals is not None and path.live and now_s - path.signals.now_s < SIGNALS_AGE_S
        ]
        least = min(seen, key=lambda signals: signals.queue_s)
        return replace(
            least,
            now_s=now_s,
            usage=Usage.OVER if all(one.usage == Usage.OVER for one in seen) else Usage.NORMAL,
            delivered_bit_s=_sum(one.delivered_bit_s for one in seen),
            recent_bit_s=_sum(one.recent_bit_s for one in seen),
            capacity_bit_s=max((one.capacity_bit_s for one in seen if one.capacity_bit_s is not None), default=None),
            lost=min(one.lost for one in seen),
            response_s=max(one.response_s for one in seen),
            offered_bit_s=sum(path.monitor.offered_bit_s(now_s) for path in self._paths.values()),
        )

    def _consider_doubling(self, together: Signals) -> None:
        full = self.control.draining or together.queue_s > HIGH_QUEUE_S
        if self._doubled_s is None:
            room = STEP_SHARE * (together.capacity_bit_s or 0.0) / 2
            if together.lost > DOUBLED_ABOVE and not full and room > DOUBLED_SHARE * self._useful_bit_s:
                self._doubled_s = together.now_s
        elif full or (together.lost < DOUBLED_UNTIL_BELOW and together.now_s - self._doubled_s > DOUBLED_FOR_S):
            self._doubled_s = None

    def _limit_alone(self, path: Path, together: Signals) -> None:
        signals = path.signals
        if signals is None or len(self._paths) < 2:
            path.own_limit = None
            return
        alone = replace(
            signals,
            queue_s=max(0.0, signals.queue_s - together.queue_s),
            lost=max(0.0, signals.lost - together.lost),
            usage=Usage.NORMAL if together.usage == Usage.OVER else signals.usage,
        )
        if path.own_limit is None and alone.queue_s > HIGH_QUEUE_S + 2 * alone.jitter_s:
            delivered = signals.recent_bit_s or signals.delivered_bit_s or LEAST_BIT_S
            path.own_limit = RateControl(delivered, LEAST_BIT_S, MOST_BIT_S)
        if path.own_limit is not None:
            path.own_limit.update(alone)
            if path.own_limit.target_bit_s > OWN_LIMIT_SLACK * self._wanted_bit_s(path):
                path.own_limit = None

    def _wanted_bit_s(self, path: Path) -> float:
        pictures = sum(self._rates.get(name, 0.0) for name in path.streams) * (2 if self.doubled else 1)
        return pictures + path.urgent_bit_s + DATA_RESERVE_BIT_S

    def _divide(self) -> None:
        heard = [path for path in self._paths.values() if not path.silent]
        live = heard or [*self._paths.values()]
        copies = {name: sum(name in path.streams for path in live) for name in self._streams}
        lost = min((path.signals.lost for path in live if path.signals is not None), default=0.0)
        reserve = sum(path.urgent_bit_s + DATA_RESERVE_BIT_S for path in live)
        copies_sent = 2 if self.doubled else 1
        self._useful_bit_s = useful = (
            sum(stream.most_bit_s * copies[stream.name] for stream in self._streams.values()) + reserve
        )
        if self.doubled:
            useful *= 2 * DOUBLED_SHARE
        if any(copies.values()):
            self.control.limit(min(self._most_bit_s, SPARE * useful / (1 - min(lost, 0.5))))
        budget = (self.control.target_bit_s * (1 - lost) - reserve) / copies_sent
        if heard and self._narrow.narrow:
            budget = 0.0
        elif not heard:
            budget = min(budget, SILENT_BIT_S)
        demands = [
            Demand(
                stream.name,
                copies[stream.name],
                stream.rank,
                stream.weight,
                stream.least_bit_s * (RESUME_MARGIN if self._rates.get(stream.name) == 0 else 1.0),
                stream.most_bit_s * (DOUBLED_SHARE if self.doubled else 1.0),
            )
            for stream in self._streams.values()
        ]
        rates = divide(budget, demands)
        self._rates = rates
        for path in live:
            path.share = 1.0
            if path.own_limit is not None:
                beside = path.urgent_bit_s + DATA_RESERVE_BIT_S
                pictures = sum(rates[name] for name in path.streams)
                path.share = min(1.0, max(0.0, path.own_limit.target_bit_s - beside) / max(1.0, pictures))

    def _pace_bit_s(self, now_s: float) -> float:
        target = self.control.target_bit_s
        if self._pacer.probing:
            return max(PROBE_BIT_S, PACING_MOST * target)
        if self.control.draining:
            return PACING_DRAINING * target
        if any(now_s - path.resumed_s < RESUMING_S for path in self._paths.values()):
            return PACING_RESUMING * target
        if self._capacity_bit_s is None:
            return PACING * target
        if not self._stretched:
            return max(PACING * target, min(PACING_FASTER * self._capacity_bit_s, PACING_MOST * target))
        # not much faster than the link, or every picture would be a queue; fast enough to see when there is more
        return max(PACING_DRAINING * target, min(PACING_BEYOND * self._capacity_bit_s, PACING_MOST * target))

    def _window_full(self, path: Path, now_s: float) -> bool:
        if not path.live or not path.monitor.heard:
            return False
        total = sum(self._wanted_bit_s(each) for each in self._paths.values() if each.live)
        share = self._wanted_bit_s(path) / total if total > 0 else 1.0
        return path.window_full(self.control.target_bit_s * min(1.0, share), now_s)


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
