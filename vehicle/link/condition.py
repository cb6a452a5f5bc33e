"""How the link stands in words a crew can act on: what a consultation would have, why, and what to do. Pure.

The codes are keys of ``sync/web/texts/<language>/link.toml`` below ``touch.link_now``.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.readings import Cellular, ServingCell
from sync.formats.link_figures import MOST_RTT_MS, NEEDED_KBIT_S
from telemedicine.degradation import LADDER, Rung, unmet
from telemedicine.link_sample import LinkSample

WEAK_DBM = -110.0
"""RSRP at the edge of a cell: below it the modem sends at full power and still slowly."""
NOISY_DB = 0.0
"""SINR: below it the strongest neighbour is as loud as our own cell."""


@dataclass(frozen=True, slots=True)
class Condition:
    """
    :ivar consultation: the rung a consultation would stand on now; None: not measured
    :ivar reasons: what keeps it from being good, the first to be dealt with first; each has words what to do
    """

    consultation: Rung | None
    reasons: tuple[str, ...]


def condition_of(cellular: Cellular | None, sample: LinkSample | None, online: bool) -> Condition:
    """
    :param cellular: None where no modem tells
    :param sample: the newest figures, None where nothing was measured lately
    :param online: the county was reached lately
    """
    away = _without_service(cellular, online)
    if away is not None:
        return Condition(Rung.ASYNCHRONOUS, (away,))
    return Condition(_rung(sample), (*_signal(cellular), *_figures(sample)))


def _without_service(cellular: Cellular | None, online: bool) -> str | None:
    if cellular is None or online:
        return None
    if cellular.sim == "absent":
        return "sim_absent"
    if cellular.sim in ("pin", "puk"):
        return "sim_locked"
    if cellular.registration == "denied":
        return "denied"
    if cellular.registration in ("home", "roaming"):
        return "no_data"
    return "no_service" if cellular.cells else "no_signal"


def _rung(sample: LinkSample | None) -> Rung | None:
    if sample is None or sample.up_bit_s is None:
        return None
    return next(rung for rung, needs in LADDER.items() if unmet(needs, sample) is None)


def _signal(cellular: Cellular | None) -> list[str]:
    cell = strongest(cellular)
    if cell is None:
        return []
    weak = cell.rsrp_dbm is not None and cell.rsrp_dbm < WEAK_DBM
    noisy = cell.sinr_db is not None and cell.sinr_db < NOISY_DB
    return ["weak"] * weak + ["noisy"] * (noisy and not weak)


def _figures(sample: LinkSample | None) -> list[str]:
    if sample is None:
        return []
    rates = [rate for rate in (sample.up_bit_s, sample.down_bit_s) if rate is not None]
    slow = any(rate < NEEDED_KBIT_S * 1000 for rate in rates)
    far = sample.rtt_ms is not None and sample.rtt_ms > MOST_RTT_MS
    return ["slow"] * slow + ["far"] * far


def strongest(cellular: Cellular | None) -> ServingCell | None:
    """The cell that carries: NR where it stands beside an LTE anchor."""
    return cellular.cells[-1] if cellular is not None and cellular.cells else None
