"""The mobile network of the demo's township: which village has 5G, and what a modem and a probe would say there."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime

from devices.readings import Cellular, ServingCell
from telemedicine.link_sample import LinkSample

MCC, MNC = "460", "00"
EVERY_FOURTH = 4
"""One village of four lies behind a ridge and has LTE only."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is on the air in one village; the same in every life of the demo.

    :ivar rsrp_dbm: of the serving cell, on average
    """

    technology: str
    cell: ServingCell
    rsrp_dbm: float
    rtt_ms: float
    up_mbit_s: float
    down_mbit_s: float


def coverage_in(village_code: str) -> Coverage:
    """:param village_code: 12 digits of GB/T 10114"""
    chance = random.Random(f"radio of {village_code}")
    cell_id, tac = f"{chance.randrange(1 << 28):X}", f"{chance.randrange(0x1000, 0xFFFF):X}"
    if int(village_code) % EVERY_FOURTH:
        cell = ServingCell("nr", MCC, MNC, tac, cell_id, pci=chance.randrange(1008), band="n41", bandwidth_mhz=100)
        return Coverage(
            "nr_sa",
            cell,
            rsrp_dbm=chance.uniform(-96, -82),
            rtt_ms=chance.uniform(24, 41),
            up_mbit_s=chance.uniform(54, 96),
            down_mbit_s=chance.uniform(140, 360),
        )
    cell = ServingCell("lte", MCC, MNC, tac, cell_id, pci=chance.randrange(504), band="B3", bandwidth_mhz=20)
    return Coverage(
        "lte",
        cell,
        rsrp_dbm=chance.uniform(-113, -104),
        rtt_ms=chance.uniform(58, 96),
        up_mbit_s=chance.uniform(4, 17),
        down_mbit_s=chance.uniform(19, 52),
    )


def heard(coverage: Coverage, chance: random.Random) -> Cellular:
    """What the modem says at one moment."""
    rsrp_dbm = round(coverage.rsrp_dbm + chance.gauss(0, 2.5))
    seen = replace(coverage.cell, rsrp_dbm=rsrp_dbm, sinr_db=round(0.6 * (rsrp_dbm + 118)))
    return Cellular("ready", "home", coverage.technology, "中国移动", (seen,))


def passed(coverage: Coverage, at: datetime, chance: random.Random) -> LinkSample:
    """What TCP noted of a delivery to the county: the round trip."""
    return LinkSample(at, "delivery", rtt_ms=coverage.rtt_ms * chance.uniform(0.8, 1.25))


def probed(coverage: Coverage, at: datetime, chance: random.Random) -> LinkSample:
    """What a probe would have measured."""
    return LinkSample(
        at,
        "probe",
        rtt_ms=coverage.rtt_ms * chance.uniform(1.05, 1.4),
        jitter_ms=coverage.rtt_ms * chance.uniform(0.05, 0.15),
        loss_percent=chance.choice([0.0, 0.0, 0.0, 0.3]),
        up_bit_s=coverage.up_mbit_s * 1e6 * chance.uniform(0.85, 1.1),
        down_bit_s=coverage.down_mbit_s * 1e6 * chance.uniform(0.85, 1.1),
    )
