"""Fibocom FM150, FM160 and FM350 on their AT port (FM150 2cb7:0104: interface 1 or 2), read only.

``AT+GTCCINFO?`` answers "+GTCCINFO:" and then one line a cell, without a prefix; 1 serves, 2 is a neighbour:

    1,rat,mcc,mnc,tac,cell,arfcn,pci,band,bw,sinr,rxlev,rsrp,rsrq        rat 4 LTE, 9 NR

FM150 and FM160 print a title before each group ("NR service cell:"), and then ARFCN and PCI are hexadecimal too; FM350
and L8xx print no title and these two in decimal. TAC and cell are always hexadecimal. Band: LTE 100 + n, NR 50n. The
signal stands as the index of the 3GPP tables:

====  ==========================  ============================  ==============================
LTE   RSRP -140 + x (TS 36.133)   RSRQ -20 + x/2                not given: makers disagree
NR    RSRP -156 + x (TS 38.133)   RSRQ -43 + x/2                SINR -23 + x/2
====  ==========================  ============================  ==============================

255 or nothing: not known. The bandwidth is in resource blocks for LTE (100 = 20 MHz); for NR firmwares differ, so it is
not given. Whoever reads -141 + x for LTE takes the lower edge of the same step of 1 dB.

Never sent: AT+CFUN, AT+GTUSBMODE, AT+GTACT, AT+GTRNDIS, AT+GTCELLLOCK, AT+EGMR.

Source: public transcripts of FM150, FM160, FM350 and L8xx (facts); 3GPP TS 36.133 9.1.4, 9.1.7; TS 38.133 10.1.6,
10.1.11, 10.1.16. Not tried on hardware by us; hardware/protocols/fibocom_5g.md.
"""

from __future__ import annotations

import re
from typing import ClassVar

from devices.at_modem import AtModem, at, fields_of, hexadecimal, network_code, number
from devices.driver import About, Metric, Output, SerialLine
from devices.readings import ServingCell

CELL_LINE = re.compile(r"[12],[0-9]{1,2},[0-9A-Fa-f,.-]{8,}")
TITLE = re.compile(r"(LTE|NR|LTE-NR|EN-DC|UMTS|GSM)[A-Za-z -]* (service|neighbor) cell ?:", re.IGNORECASE)
CARRIER = re.compile(r"(PCC|SCC ?\d*) ?:")
RAT_UMTS, RAT_LTE, RAT_NR = 2, 4, 9


class Driver(AtModem):
    about: ClassVar[About] = About(
        title_zh="5G 模组(广和通)",
        title_en="5G modem (Fibocom, AT port)",
        models=("FM150", "FM160", "FM350"),
        metrics=(Metric("cellular", mdc=None, loinc=None, ucum="1", sample_rate_hz=0.1),),
        line=SerialLine(115200),
        source="public transcripts; hardware/protocols/fibocom_5g.md",
        lost_after_s=30.0,
    )
    questions = ("AT", "AT+CPIN?", "AT+COPS?", "AT+CEREG?", "AT+C5GREG?", "AT+GTCCINFO?", "AT+GTCAINFO?")
    allowed_writes: ClassVar[tuple[bytes, ...]] = tuple(question.encode() + b"\r" for question in questions)

    def __init__(self) -> None:
        super().__init__()
        self._titled = False

    def open(self) -> Output:
        self._titled = False
        return super().open()

    def take_information(self, line: str) -> bool:
        if line.startswith("+GTCCINFO:"):
            self._titled = False
            line = line.removeprefix("+GTCCINFO:").strip()
        elif line.startswith("+GTCAINFO:"):
            line = line.removeprefix("+GTCAINFO:").strip()
        if not line:
            return True
        if TITLE.fullmatch(line):
            self._titled = True
        elif CARRIER.match(line):
            self.heard.carriers += len(CARRIER.findall(line))
        elif CELL_LINE.fullmatch(line):
            self._cell(fields_of(line))
        else:
            return False
        return True

    def _cell(self, fields: list[str]) -> None:
        if fields[0] != "1":
            return
        rat = number(fields[1], 0, 99)
        if rat == RAT_LTE:
            self.heard.lte = cell_of(fields, "lte", self._titled)
        elif rat == RAT_NR:
            self.heard.nr = cell_of(fields, "nr", self._titled)
        elif rat == RAT_UMTS:
            self.heard.older = "umts"


def cell_of(fields: list[str], technology: str, in_hexadecimal: bool) -> ServingCell:
    """1,rat,mcc,mnc,tac,cell,arfcn,pci,band,bw,sinr,rxlev,rsrp,rsrq"""
    nr = technology == "nr"
    mcc, mnc = network_code(at(fields, 2), at(fields, 3))
    return ServingCell(
        technology=technology,
        mcc=mcc,
        mnc=mnc,
        tac=hexadecimal(at(fields, 4), 24 if nr else 16),
        cell_id=hexadecimal(at(fields, 5), 36 if nr else 28),
        arfcn=_channel(at(fields, 6), in_hexadecimal, 3_279_165 if nr else 262_143),
        pci=_channel(at(fields, 7), in_hexadecimal, 1007 if nr else 503),
        band=nr_band(at(fields, 8)) if nr else lte_band(at(fields, 8)),
        bandwidth_mhz=None if nr else _lte_bandwidth_mhz(at(fields, 9)),
        sinr_db=_half(at(fields, 10), -23.0, 127) if nr else None,
        rsrp_dbm=_step(at(fields, 12), -156, 126) if nr else _step(at(fields, 12), -140, 97),
        rsrq_db=_half(at(fields, 13), -43.0, 126) if nr else _half(at(fields, 13), -20.0, 34),
    )


def lte_band(said: str) -> str | None:
    """103 is B3."""
    band = number(said, 101, 188)
    return None if band is None else f"B{band - 100}"


def nr_band(said: str) -> str | None:
    """501..509 are n1..n9, 5010..50512 n10..n512."""
    if not re.fullmatch(r"50[1-9]\d{0,2}", said):
        return None
    return f"n{said[2:]}"


def _channel(said: str, in_hexadecimal: bool, most: int) -> int | None:
    if not in_hexadecimal:
        return number(said, 0, most)
    if not re.fullmatch(r"[0-9A-Fa-f]{1,8}", said):
        return None
    value = int(said, 16)
    return value if value <= most else None


def _lte_bandwidth_mhz(resource_blocks: str) -> float | None:
    return {"6": 1.4, "15": 3.0, "25": 5.0, "50": 10.0, "75": 15.0, "100": 20.0}.get(resource_blocks)


def _step(said: str, zero_dbm: int, most: int) -> int | None:
    """An index of steps of 1 dB; 0 is "below the scale"."""
    index = number(said, 1, most)
    return None if index is None else zero_dbm + index


def _half(said: str, zero_db: float, most: int) -> float | None:
    """An index of steps of 0.5 dB."""
    index = number(said, 1, most)
    return None if index is None else zero_db + index / 2
