"""What ModemManager says on D-Bus, read as ``Cellular``. Pure.

Source: ModemManager D-Bus API 1.20: Modem (State, StateFailedReason, UnlockRequired, AccessTechnologies, GetCellInfo),
Modem.Modem3gpp (RegistrationState, OperatorName), Modem.Signal (Lte, Nr5g), Modem.Location (3GPP_LAC_CI).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devices.at_modem import filled, hexadecimal, network_code
from devices.readings import Cellular, ServingCell

MODEM = "org.freedesktop.ModemManager1.Modem"
MODEM_3GPP = f"{MODEM}.Modem3gpp"
SIGNAL = f"{MODEM}.Signal"
LOCATION = f"{MODEM}.Location"
LOCATION_3GPP_LAC_CI = 1
"""MMModemLocationSource."""

Properties = Mapping[str, Any]
"""One interface's properties, variants taken off."""

_REGISTRATIONS = {0: "none", 1: "home", 2: "searching", 3: "denied", 4: "unknown", 5: "roaming"}
"""MMModem3gppRegistrationState; the rest are services without data."""
_FAILED, _LOCKED = -1, 2
_SIM_MISSING, _SIM_ERROR = 2, 3
_LOCK_NONE = 1
_PIN_LOCKS, _PUK_LOCKS = frozenset({2, 3}), frozenset({4, 5})
_GSM_BITS, _UMTS_BITS, _LTE_BIT, _NR_BIT = 0b11110, 0b111100000, 1 << 14, 1 << 15
_CELL_LTE, _CELL_NR = 5, 6
"""MMCellType."""


def cellular_of(
    interfaces: Mapping[str, Properties],
    cell_info: Sequence[Properties] = (),
    location: Mapping[int, Any] | None = None,
) -> Cellular:
    """
    :param interfaces: interface name -> properties of one modem object
    :param cell_info: the answer of GetCellInfo; empty where this ModemManager or modem has none
    :param location: the answer of GetLocation; used where GetCellInfo names no serving cell
    """
    modem, network = interfaces.get(MODEM, {}), interfaces.get(MODEM_3GPP, {})
    technology = _technology(_whole(modem.get("AccessTechnologies")) or 0)
    cells = [cell for info in cell_info if info.get("serving") is True and (cell := _cell(info)) is not None]
    cells = cells or _located(technology, (location or {}).get(LOCATION_3GPP_LAC_CI))
    registration = _whole(network.get("RegistrationState"))
    return Cellular(
        sim=_sim(modem),
        registration="unknown" if registration is None else _REGISTRATIONS.get(registration, "limited"),
        technology=technology,
        operator=str(network.get("OperatorName") or network.get("OperatorCode") or "")[:32] or None,
        cells=tuple(_with_signal(cell, interfaces.get(SIGNAL, {})) for cell in cells),
        carriers=len(cells) or None,
    )


def _sim(modem: Properties) -> str | None:
    state, lock = _whole(modem.get("State")), _whole(modem.get("UnlockRequired"))
    if state == _FAILED:
        return {_SIM_MISSING: "absent", _SIM_ERROR: "not_ready"}.get(_whole(modem.get("StateFailedReason")) or 0)
    if state == _LOCKED and lock in _PUK_LOCKS:
        return "puk"
    if state == _LOCKED:
        return "pin"
    return "ready" if lock == _LOCK_NONE or lock in _PIN_LOCKS else None  # PIN2 is no hindrance once it runs


def _technology(bits: int) -> str | None:
    if bits & _NR_BIT:
        return "nr_nsa" if bits & _LTE_BIT else "nr_sa"
    if bits & _LTE_BIT:
        return "lte"
    return "umts" if bits & _UMTS_BITS else "gsm" if bits & _GSM_BITS else None


def _cell(info: Properties) -> ServingCell | None:
    """One dictionary of GetCellInfo."""
    kind = info.get("cell-type")
    if kind not in (_CELL_LTE, _CELL_NR):
        return None
    nr = kind == _CELL_NR
    code = str(info.get("operator-id") or "")
    mcc, mnc = network_code(code[:3], code[3:]) if len(code) in (5, 6) else (None, None)
    pci = hexadecimal(str(info.get("physical-ci") or ""), 16)
    return ServingCell(
        technology="nr" if nr else "lte",
        mcc=mcc,
        mnc=mnc,
        tac=hexadecimal(str(info.get("tac") or ""), 24),
        cell_id=hexadecimal(str(info.get("ci") or ""), 36 if nr else 28),
        pci=None if pci is None else _within(int(pci, 16), 0, 1007),
        arfcn=_within(_whole(info.get("nrarfcn" if nr else "earfcn")), 0, 3_279_165),
        rsrp_dbm=_measured(info.get("rsrp"), -156, -20),
        rsrq_db=_measured(info.get("rsrq"), -43, 20),
        sinr_db=_measured(info.get("sinr"), -23, 40) if nr else None,
    )


def _located(technology: str | None, said: object) -> list[ServingCell]:
    """ "MCC,MNC,LAC,CI,TAC" of the 3GPP location source; LAC is 0 or FFFE where only a TAC is meant."""
    parts = str(said or "").split(",")
    if technology is None or len(parts) < 5:
        return []
    mcc, mnc = network_code(parts[0], parts[1])
    kind = "nr" if technology == "nr_sa" else "lte"
    tac, cell_id = hexadecimal(parts[4], 24), hexadecimal(parts[3], 36)
    return [ServingCell(technology=kind, mcc=mcc, mnc=mnc, tac=tac, cell_id=cell_id)] if mcc else []


def _with_signal(cell: ServingCell, signal: Properties) -> ServingCell:
    said = signal.get("Nr5g" if cell.technology == "nr" else "Lte") or {}
    return filled(
        cell,
        _measured(said.get("rsrp"), -156, -20),
        _measured(said.get("rsrq"), -43, 20),
        _measured(said.get("snr"), -23, 40),
    )


def _whole(said: object) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _within(value: int | None, least: int, most: int) -> int | None:
    return value if value is not None and least <= value <= most else None


def _measured(said: object, least: float, most: float) -> float | None:
    """Unknown is the smallest double there is (MM_SIGNAL_UNKNOWN)."""
    return float(said) if isinstance(said, int | float) and least <= said <= most else None
