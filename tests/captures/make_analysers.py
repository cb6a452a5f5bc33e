"""Makes the captures of analysers: ``python tests/captures/make_analysers.py`` (see ``make``); people are made up."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from make import CONNECTED, OURS, Conversation, keep

from devices.astm import ACK, NAK
from devices.capture import Head
from devices.drivers import gmp_urine
from devices.simulators.analyser_report import Found, SpecimenReport
from devices.simulators.astm_analyser import AstmAnalyserTwin, Faults
from devices.simulators.gmp_urine import GmpUrineTwin
from devices.simulators.hl7_analyser import Hl7AnalyserTwin

READY = CONNECTED | {"sensor": "unknown", "fault": None}


def main() -> None:
    blood_count_by_astm()
    control_by_astm()
    blood_count_by_hl7()
    chemistry_by_hl7()
    urine_strips()


def blood_count_by_astm() -> None:
    found = (
        Found("WBC", "6.40", "10*3/uL", "4.00 - 10.00", ("N",)),
        Found("RBC", "3.21", "10*6/uL", "3.50 - 5.50", ("L",)),
        Found("HGB", "9.8", "g/dL", "11.0 - 16.0", ("L",)),
        Found("PLT", "<10", "10*3/uL", "100 - 300", ("L", "A")),
        Found("LYM%", "----", "%", "20.0 - 40.0", ("A",)),
        Found("P-LCR", "25.1", "%", "", ("N",)),
    )
    twin = AstmAnalyserTwin(faults=Faults(wrong_checksum=1, frame_twice=1))
    twin.report(SpecimenReport("1024", "20260301093000", found))
    talk = Conversation(twin)
    host(talk, bad=1)
    values = [
        value("WBC", "6.40", "wbc", 6.4, 6.4, "10*9/L", "10*3/uL", "4.00 - 10.00", ["N"]),
        value("RBC", "3.21", "rbc", 3.21, 3.21, "10*12/L", "10*6/uL", "3.50 - 5.50", ["L"]),
        value("HGB", "9.8", "hgb", 9.8, 98.0, "g/L", "g/dL", "11.0 - 16.0", ["L"]),
        value("PLT", "<10", "plt", 10.0, 10.0, "10*9/L", "10*3/uL", "100 - 300", ["L", "A"], comparator="<"),
        value("LYM%", "----", "lymphocytes_percent", None, None, None, "%", "20.0 - 40.0", ["A"]),
        value("P-LCR", "25.1", None, 25.1, None, None, "%", "", ["N"]),
    ]
    result = laboratory("1024", values, "TwinLab XP-300 1.0", "2026-03-01T09:30:00", "2026-03-01T09:30:00")
    display = "specimen 1024: WBC 6.40, RBC 3.21, HGB 9.8, PLT <10, LYM% ----, P-LCR 25.1; one frame spoiled, one twice"
    keep("astm_analyser/blood_count_over_a_bad_line", head("astm_analyser", display), talk.steps, [READY, result], {})


def control_by_astm() -> None:
    twin = AstmAnalyserTwin(sender="TwinLab^C-1")
    twin.report(
        SpecimenReport("QC|1", "20260301080000", (Found("GLU", "5.5", "mmol/L"),), control=True, person="质控甲"),
        charset="gb18030",
    )
    talk = Conversation(twin)
    host(talk)
    result = laboratory(
        "QC|1",
        [value("GLU", "5.5", None, 5.5, None, None, "mmol/L", "", [])],
        "TwinLab C-1",
        "2026-03-01T08:00:00",
        "2026-03-01T08:00:00",
        control=True,
        person="质控甲",
    )
    display = "control QC|1 (an escaped separator), 质控甲 in GB18030, GLU 5.5 mmol/L; an analyser that no map knows"
    keep(
        "astm_analyser/control_of_an_unknown_analyser", head("astm_analyser", display), talk.steps, [READY, result], {}
    )


def blood_count_by_hl7() -> None:
    found = (
        Found("WBC", "11.2", "10*9/L", "4.00-10.00", ("H", "A"), "6690-2"),
        Found("HGB", "134", "g/L", "110-160", ("", "N"), "718-7"),
        Found("GRAN%", "51.0", "%", "50.0-70.0", ("", "N"), "20482-6"),
        Found("MPV", "**.*", "fL", "6.5-12.0", ("", "A"), "32623-1"),
        Found("PLT", "204", "10^9/L", "100-300", ("N",), "777-3"),
    )
    twin = Hl7AnalyserTwin(charset="gb18030")
    twin.report(SpecimenReport("2048", "20260301101500", found, person="测试甲"))
    talk = Conversation(twin)
    talk.run(0.1)
    values = [
        value("WBC", "11.2", "wbc", 11.2, 11.2, "10*9/L", "10*9/L", "4.00-10.00", ["H", "A"], status="F"),
        value("HGB", "134", "hgb", 134.0, 134.0, "g/L", "g/L", "110-160", ["N"], status="F"),
        value("GRAN%", "51.0", None, 51.0, None, None, "%", "50.0-70.0", ["N"], status="F"),
        value("MPV", "**.*", "mpv", None, None, None, "fL", "6.5-12.0", ["A"], status="F"),
        value("PLT", "204", "plt", 204.0, 204.0, "10*9/L", "10^9/L", "100-300", ["N"], status="F"),
    ]
    at = "2026-03-01T10:15:00"
    result = laboratory("2048", values, "TwinLab BC-30", at, at, person="测试甲", message="20260301101500001")
    display = "specimen 2048, 测试甲 in GB18030: WBC 11.2 H, HGB 134, GRAN% 51.0 (with the code of the count), MPV **.*"
    keep("hl7_analyser/blood_count_with_loinc", head("hl7_analyser", display), talk.steps, [READY, result], {})


def chemistry_by_hl7() -> None:
    found = (Found("GLI", "111", "mg/dL", "65-99", ("H",)), Found("URE", "30", "mg/dL", "15-40", ("N",)))
    twin = Hl7AnalyserTwin(sender="urit|8030")
    twin.report(SpecimenReport("96134", "20260301110000", found))
    talk = Conversation(twin)
    talk.run(0.1)
    values = [
        value("GLI", "111", "glucose", 111.0, 6.16133, "mmol/L", "mg/dL", "65-99", ["H"], status="F"),
        value("URE", "30", None, 30.0, None, None, "mg/dL", "15-40", ["N"], status="F"),
    ]
    at = "2026-03-01T11:00:00"
    result = laboratory("96134", values, "urit 8030", at, at, message="20260301110000001")
    display = "specimen 96134: GLI 111 mg/dL, URE 30 mg/dL; the analyte stands in OBX-4"
    keep("hl7_analyser/chemistry_named_in_obx_4", head("hl7_analyser", display), talk.steps, [READY, result], {})


def urine_strips() -> None:
    twin = GmpUrineTwin()
    talk = Conversation(twin)
    talk.send(gmp_urine.ASK_CONFIRM)
    talk.send(gmp_urine.ASK_NEWEST)
    strips: tuple[dict[str, int], ...] = ({"LEU": 3, "PH": 2, "SG": 4, "PRO": 1, "GLU": 4}, {"PH": 7, "NIT": 2})
    events: list[dict[str, Any]] = [CONNECTED | {"sensor": "ok", "fault": None}]
    shown: tuple[dict[str, str], ...] = (
        {"LEU": "+2", "PRO": "±", "PH": "6.5", "SG": "1.020", "GLU": "+3"},
        {"NIT": "+1", "PH": "?7", "SG": "1.000"},
    )
    for number, (levels, told) in enumerate(zip(strips, shown, strict=True), start=7):
        twin.measure(number, datetime(2026, 3, 1, 9, 40 + number, tzinfo=UTC), levels)
        talk.now_s += 3.0
        talk.send(gmp_urine.ASK_NEWEST)
        talk.send(gmp_urine.ASK_NEWEST)
        values = [strip_value(code, key, told.get(code, "-")) for code, key in gmp_urine.KEYS.items()]
        at = f"2026-03-01T09:{40 + number}:00"
        events.append(laboratory(str(number), values, "GMP UA", at, None, material="urine"))
    display = (
        "no record; strip 7: LEU +2, PRO ±, PH 6.5, SG 1.020, GLU +3, others -; strip 8: NIT +1, a pH that is none"
    )
    keep("gmp_urine/two_strips", head("gmp_urine", display), talk.steps, events, {})


def host(talk: Conversation, bad: int = 0) -> None:
    """The other side, by the standard: every frame is acknowledged, the first ``bad`` ones refused."""
    talk.run(0.1)
    while talk.steps[-1].rx != "04":
        refuse = bad > 0 and talk.steps[-1].rx != "05"
        bad -= int(refuse)
        talk.now_s += 0.05
        talk.send(NAK if refuse else ACK)


def head(driver: str, display: str) -> Head:
    return Head(driver=driver, kind="simulated", device=f"twin {driver}", display=display, source=OURS)


def strip_value(code: str, key: str, said: str) -> dict[str, Any]:
    number = float(said) if code in ("PH", "SG") and said != "?7" else None
    ucum = None if number is None else "[pH]" if code == "PH" else "1"
    return value(code, said, key, number, number, ucum, "", "", [])


def value(
    code: str,
    said: str,
    key: str | None,
    number: float | None,
    quantity: float | None,
    ucum: str | None,
    unit: str,
    reference_range: str,
    flags: Iterable[str],
    comparator: str | None = None,
    status: str | None = None,
) -> dict[str, Any]:
    return {
        "code": code,
        "said": said,
        "unit": unit,
        "key": key,
        "number": number,
        "comparator": comparator,
        "quantity": quantity,
        "ucum": ucum,
        "reference_range": reference_range,
        "flags": list(flags),
        "status": status or "",
    }


def laboratory(
    specimen: str,
    values: list[dict[str, Any]],
    analyser: str,
    said_at: str,
    message_said_at: str | None,
    control: bool = False,
    person: str | None = None,
    material: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    if analyser.startswith("TwinLab") and message is None:
        values = [told | {"status": "F"} for told in values]
    return {
        "type": "laboratory",
        "specimen": specimen,
        "values": values,
        "analyser": analyser,
        "material": material,
        "control": control,
        "person_said": person,
        "comments": [],
        "message_id": message,
        "device_said_at": said_at,
        "message_said_at": message_said_at,
    }


if __name__ == "__main__":
    main()
