"""Quectel RM500Q, RM502Q, RM520N, RG500Q ... on their AT port (USB 2c7c:0800 of the RM500Q: interface 2), read only.

``AT+QENG="servingcell"`` answers one line for a stand-alone cell and three for EN-DC:

========  ==========================================================================================================
SA        "servingcell",state,"NR5G-SA",duplex,MCC,MNC,cell,PCID,TAC,ARFCN,band,bw,RSRP,RSRQ,SINR,scs,srxlev
LTE       "servingcell",state,"LTE",duplex,MCC,MNC,cell,PCID,EARFCN,band,UL bw,DL bw,TAC,RSRP,RSRQ,RSSI,SINR,CQI,...
EN-DC     "servingcell",state / "LTE",duplex,... / "NR5G-NSA",MCC,MNC,PCID,RSRP,SINR,RSRQ,ARFCN,band,bw,scs
========  ==========================================================================================================

Cell and TAC are hexadecimal. NSA has RSRP, SINR, RSRQ in this order, SA has RSRP, RSRQ, SINR. The SINR of LTE is a raw
Y with 2Y - 20 dB; that of NR is dB. "-" and -32768 mean "not known". NOCONN means registered and idle, SEARCH and
LIMSRV not registered. ``AT+QCSQ`` fills what QENG leaves out on NR (RM520N firmware without RSRP there).

Never sent: AT+CFUN, AT+QCFG, AT+EGMR, AT+QNWPREFCFG, AT+QNWLOCK, AT+QPRTPARA, AT+QPOWD.

Source: Quectel RG50xQ&RM5xxQ Series Network Application Note and AT Commands Manual (facts); public transcripts of
RM520N. Not tried on hardware by us; hardware/protocols/quectel_5g.md.
"""

from __future__ import annotations

from typing import ClassVar

from devices.at_modem import AtModem, at, fields_of, filled, hexadecimal, network_code, number
from devices.driver import About, Metric, SerialLine
from devices.readings import ServingCell

NR_BANDWIDTH_MHZ = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
LTE_BANDWIDTH_MHZ = (1.4, 3, 5, 10, 15, 20)
SUBCARRIER_SPACING_KHZ = (15, 30, 60, 120)
SA, NSA, LTE = "NR5G-SA", "NR5G-NSA", "LTE"


class Driver(AtModem):
    about: ClassVar[About] = About(
        title_zh="5G 模组(移远)",
        title_en="5G modem (Quectel, AT port)",
        models=("RM500Q", "RM502Q", "RM520N", "RG500Q"),
        metrics=(Metric("cellular", mdc=None, loinc=None, ucum="1", sample_rate_hz=0.1),),
        line=SerialLine(115200),
        source="Quectel Network Application Note; hardware/protocols/quectel_5g.md",
        lost_after_s=30.0,
    )
    questions = (
        "AT",
        "AT+CPIN?",
        "AT+COPS?",
        "AT+CEREG?",
        "AT+C5GREG?",
        'AT+QENG="servingcell"',
        "AT+QCSQ",
        "AT+QCAINFO",
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = tuple(question.encode() + b"\r" for question in questions)

    def take_information(self, line: str) -> bool:
        name, _, rest = line.partition(":")
        fields = fields_of(rest)
        match name:
            case "+QENG":
                return self._serving(fields)
            case "+QCSQ":
                self._signal(fields)
            case "+QCAINFO" if fields[0] in ("PCC", "SCC"):
                self.heard.carriers += 1
            case _:
                return False
        return True

    def _serving(self, fields: list[str]) -> bool:
        if fields[0] == "servingcell":
            fields = fields[2:]
        match at(fields, 0):
            case "NR5G-SA":
                self.heard.nr = stand_alone(fields[1:])
            case "NR5G-NSA":
                self.heard.nr = non_stand_alone(fields[1:])
            case "LTE":
                self.heard.lte = lte(fields[1:])
            case "WCDMA":
                self.heard.older = "umts"
            case "GSM":
                self.heard.older = "gsm"
            case said:
                return said == ""
        return True

    def _signal(self, fields: list[str]) -> None:
        """+QCSQ: "NR5G",RSRP,SINR,RSRQ."""
        if self.heard.nr is not None and fields[0].startswith("NR5G") and len(fields) == 4:
            rsrp, sinr, rsrq = fields[1:]
            self.heard.nr = filled(self.heard.nr, _rsrp(rsrp), _rsrq(rsrq), number(sinr, -23, 40))


def stand_alone(fields: list[str]) -> ServingCell:
    """duplex,MCC,MNC,cell,PCID,TAC,ARFCN,band,bw,RSRP,RSRQ,SINR,scs,srxlev"""
    mcc, mnc = network_code(at(fields, 1), at(fields, 2))
    return ServingCell(
        technology="nr",
        mcc=mcc,
        mnc=mnc,
        cell_id=hexadecimal(at(fields, 3), 36),
        pci=number(at(fields, 4), 0, 1007),
        tac=hexadecimal(at(fields, 5), 24),
        arfcn=number(at(fields, 6), 0, 3_279_165),
        band=_band("n", at(fields, 7)),
        bandwidth_mhz=_listed(NR_BANDWIDTH_MHZ, at(fields, 8)),
        rsrp_dbm=_rsrp(at(fields, 9)),
        rsrq_db=_rsrq(at(fields, 10)),
        sinr_db=number(at(fields, 11), -23, 40),
        subcarrier_spacing_khz=_spacing(at(fields, 12)),
    )


def non_stand_alone(fields: list[str]) -> ServingCell:
    """MCC,MNC,PCID,RSRP,SINR,RSRQ,ARFCN,band,bw,scs: a secondary cell has no identity of its own."""
    mcc, mnc = network_code(at(fields, 0), at(fields, 1))
    return ServingCell(
        technology="nr",
        mcc=mcc,
        mnc=mnc,
        pci=number(at(fields, 2), 0, 1007),
        rsrp_dbm=_rsrp(at(fields, 3)),
        sinr_db=number(at(fields, 4), -23, 40),
        rsrq_db=_rsrq(at(fields, 5)),
        arfcn=number(at(fields, 6), 0, 3_279_165),
        band=_band("n", at(fields, 7)),
        bandwidth_mhz=_listed(NR_BANDWIDTH_MHZ, at(fields, 8)),
        subcarrier_spacing_khz=_spacing(at(fields, 9)),
    )


def lte(fields: list[str]) -> ServingCell:
    """duplex,MCC,MNC,cell,PCID,EARFCN,band,UL bw,DL bw,TAC,RSRP,RSRQ,RSSI,SINR,..."""
    mcc, mnc = network_code(at(fields, 1), at(fields, 2))
    raw_sinr = number(at(fields, 13), 0, 25)
    return ServingCell(
        technology="lte",
        mcc=mcc,
        mnc=mnc,
        cell_id=hexadecimal(at(fields, 3), 28),
        pci=number(at(fields, 4), 0, 503),
        arfcn=number(at(fields, 5), 0, 262_143),
        band=_band("B", at(fields, 6)),
        bandwidth_mhz=_listed(LTE_BANDWIDTH_MHZ, at(fields, 8)),
        tac=hexadecimal(at(fields, 9), 16),
        rsrp_dbm=_rsrp(at(fields, 10)),
        rsrq_db=_rsrq(at(fields, 11)),
        sinr_db=None if raw_sinr is None else 2 * raw_sinr - 20,
    )


def _rsrp(said: str) -> int | None:
    return number(said, -156, -20)


def _rsrq(said: str) -> int | None:
    return number(said, -43, 20)


def _band(prefix: str, said: str) -> str | None:
    band = number(said, 1, 512)
    return None if band is None else f"{prefix}{band}"


def _listed(widths_mhz: tuple[float, ...], said: str) -> float | None:
    index = number(said, 0, len(widths_mhz) - 1)
    return None if index is None else float(widths_mhz[index])


def _spacing(said: str) -> int | None:
    index = number(said, 0, len(SUBCARRIER_SPACING_KHZ) - 1)
    return None if index is None else SUBCARRIER_SPACING_KHZ[index]
