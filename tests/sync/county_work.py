"""Some work of two vans in September 2026, for the county's page of work: told as entries, delivered for real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from county_month import Founded, Van, at

from sync.formats.records import Draft, format_time

MORNING = at(9, 3, 9)


class Patrol:
    """What one van tells of one visit."""

    def __init__(self, van: Van, village: int, moment: datetime) -> None:
        self.van, self.visit, self.moment = van, van.id("visit"), moment
        self.village = van.founded.villages[village]
        opened: dict[str, Any] = {"visit_id": self.visit, "village": self.village.code, "crew": []}
        opened |= {"village_name": self.village.name, "township": self.village.township}
        self.tell("visit_opened/1", {**opened, "proposed_by": "position", "arrived_at": format_time(moment)})

    def tell(self, kind: str, fields: Mapping[str, Any], encounter: str | None = None, minutes: float = 0) -> None:
        moment = self.moment + timedelta(minutes=minutes)
        self.van.store.commit_now(Draft(kind, dict(fields), "zhou.min", self.visit, encounter, moment))

    def person(self, name: str, *results: tuple[str, str]) -> tuple[str, str]:
        """Somebody is served, with screening results (rule, code); returns patient and encounter."""
        patient, encounter = self.van.id("patient"), self.van.id("encounter")
        said = {"patient": patient, "name": name, "sex": "female", "source": "manual", "born_on": "1954-03-02"}
        self.tell("patient/1", said)
        self.tell("encounter/1", {"encounter_id": encounter, "patient": patient, "purpose": ""}, encounter)
        for rule, code in results:
            told = {"result": self.van.id("result"), "patient": patient, "rule": rule, "rule_version": "1"}
            self.tell("screening_result/1", {**told, "inputs": {}, "code": code, "level": "orange"}, encounter)
        return patient, encounter

    def red(self, name: str, closed_after: float | None, action: str = "referred") -> None:
        """A red value, and what closes it after so many minutes."""
        patient, encounter = self.person(name)
        reading = self.van.id("reading")
        measured = {"reading": reading, "type": "blood_pressure", "driver": "d", "device": "bp-1", "by_hand": False}
        self.tell("reading/1", {**measured, "values": {"systolic_mmhg": 210}}, encounter)
        told = {"reading": reading, "patient": patient}
        self.tell("critical_action/1", {**told, "action": "found"}, encounter)
        if closed_after is None:
            return
        if action != "measured_again":
            self.tell("critical_action/1", {**told, "action": action}, encounter, closed_after)
            return
        self.tell("critical_action/1", {**told, "action": "repeated"}, encounter, closed_after / 2)
        again = self.van.id("reading")
        self.tell("reading/1", {**measured, "reading": again, "values": {"systolic_mmhg": 150}}, encounter)
        self.tell("reading_confirmed/1", {"reading": again, "patient": patient}, encounter, closed_after)

    def refer(self, name: str, outcome: str = "", follow_up_on: str = "2026-09-10") -> None:
        patient, encounter = self.person(name)
        referral = self.van.id("referral")
        said: dict[str, Any] = {"referral": referral, "patient": patient, "to": "县人民医院", "urgency": "urgent"}
        said |= {"reason": "血压很高", "findings": "212/118", "results": [], "follow_up_on": follow_up_on}
        self.tell("referral/1", said, encounter)
        if outcome:
            self.tell("referral_followed/1", {"referral": referral, "patient": patient, "outcome": outcome})

    def consult(self, name: str, state: str, signed: bool = False) -> None:
        patient, encounter = self.person(name)
        consultation = self.van.id("consultation")
        asked: dict[str, Any] = {"consultation": consultation, "patient": patient, "urgency": "routine"}
        self.tell("consultation/1", {**asked, "fields": {}, "consent": {}}, encounter)
        self.tell("consultation_changed/1", {"consultation": consultation, "state": state}, encounter)
        if signed:
            said: dict[str, Any] = {"consultation": consultation, "specialist": "shen.ruochuan", "opinion": {}}
            said |= {"specialist_name": "沈若川", "institution": "县人民医院", "signed_text": "", "signature": ""}
            self.tell("opinion/1", {**said, "public_key": "", "signed_at": format_time(self.moment)}, encounter)

    def ecg(self, name: str, reviewed: bool) -> None:
        _, encounter = self.person(name)
        sha256 = self.van.id("ecg").encode().hex().ljust(64, "0")[:64]
        self.tell("ecg_analysis/1", {"sha256": sha256, "version": "1", "findings": {"heart_rate_bpm": 74}}, encounter)
        if reviewed:
            said: dict[str, Any] = {"sha256": sha256, "version": "1", "agrees": True, "af": "none", "words": ""}
            self.tell("ecg_review/1", {**said, "by_name": "沈若川"}, encounter)

    def member(self, name: str, programme: str, since: str) -> None:
        patient, encounter = self.person(name)
        said = {"patient": patient, "programme": programme, "state": "member", "since": since}
        where = {"village": self.village.code, "village_name": self.village.name}
        self.tell("programme_membership/1", {**said, **where}, encounter)


async def some_work(founded: Founded) -> None:
    """Van-07 in two villages of one township and van-09 in one of another, on 3 September; van-07 also in August."""
    seven, nine = founded.van("van-07"), founded.van("van-09")
    august = Patrol(seven, 0, at(8, 20, 9))
    august.person("早先", ("BP-GRADE", "HTN1"))
    one, two, three = Patrol(seven, 0, MORNING), Patrol(seven, 1, MORNING), Patrol(nine, 11, MORNING)
    for number in range(6):
        one.person(f"王{number}", ("BP-GRADE", "HTN2" if number < 5 else "NONE"), ("GLU-SCREEN", "NORMAL"))
    one.person("复测", ("BP-GRADE", "HTN1"), ("BP-GRADE", "HTN3"))
    two.person("李一", ("BP-GRADE", "NORMAL"), ("GLU-SCREEN", "DM_RANGE"), ("COPD-SQ", "INSUFFICIENT"))
    three.person("赵一", ("AF-SCREEN", "AF_ECG"), ("TB-SYMPTOM", "SUSPECT"))
    for name, minutes, action in (("甲", 4.5, "referred"), ("乙", 8.0, "measured_again"), ("丙", 31.0, "consulted")):
        one.red(name, minutes, action)
    one.red("丁", None)
    three.red("戊", 2.0, "refused")
    one.refer("己", "treated")
    one.refer("庚", "arrived")
    two.refer("辛")
    two.refer("壬", follow_up_on="2026-12-01")
    one.consult("癸", "opinion_signed", signed=True)
    one.consult("子", "ended")
    three.consult("丑", "cancelled")
    one.ecg("寅", reviewed=True)
    one.ecg("卯", reviewed=False)
    three.ecg("辰", reviewed=False)
    one.member("巳", "hypertension", "2026-01-05")
    three.member("午", "diabetes", "2026-09-15")
    three.member("未", "severe_mental_illness", "2026-01-05")
    for van in (seven, nine):
        assert (await van.deliver()).complete
    founded.county.interpreter.catch_up_all()
