from __future__ import annotations

import base64
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.clock import SimulatedClock
from sync.formats.records import format_time
from telemedicine.consultation import WrongMoment
from telemedicine.opinion import OpinionRefused, SignedOpinion, canonical_text
from tests.vehicle.clinic_world import DOCTOR, NURSE, PINS, World, card, id_number
from tests.vehicle.conftest import MORNING
from vehicle.clinic.prompts import NoEncounter
from vehicle.clinic.staff import WrongPin
from vehicle.consultation_request import (
    FIELDS,
    PNG,
    Consent,
    ConsentMissing,
    RequestIncomplete,
)
from vehicle.consultation_words import in_all_languages
from vehicle.consultations import (
    ConsultationOpen,
    ConsultationUnknown,
    DecisionIncomplete,
    NotADoctor,
    ReasonMissing,
)

ASKED = {
    "chief_complaint": "右上腹隐痛3个月",
    "history": "放牧，养犬10年",
    "findings": "肝右叶囊性占位",
    "preliminary": "囊型包虫病？",
    "question": "是活动期包虫吗？要不要转诊？",
}
SIGNED = Consent(PNG + b"stroke", read_aloud=True, signed_by="patient")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def world(tmp_path: Path):
    opened = World(tmp_path, SimulatedClock(MORNING))
    yield opened
    opened.close()


def opinion(world: World, consultation: str, key: Ed25519PrivateKey = KEY, **other: Any) -> SignedOpinion:
    text = {
        "format": "xunzhen-opinion/1",
        "consultation": consultation,
        "origin": "van-07.example",
        "specialist": "shen.ruochuan",
        "specialist_name": "沈若川",
        "title": "主任医师",
        "institution": "青峪县人民医院",
        "opinion": {
            "findings": "囊内多个子囊，呈蜂窝样",
            "diagnosis": "囊型包虫病 CE2",
            "action": "refer",
            "advice": "转县医院",
        },
        "signed_at": format_time(world.clock.now()),
    }
    signed = canonical_text(text | other)
    return SignedOpinion(
        consultation=consultation,
        signed_text=signed,
        signature=base64.b64encode(key.sign(signed.encode())).decode(),
        public_key=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
    )


async def requested(world: World) -> str:
    await world.serve()
    return (await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)).consultation


async def accepted(world: World) -> str:
    consultation = await requested(world)
    await world.consultations.change(consultation, "invited")
    await world.consultations.change(consultation, "accepted", "shen.ruochuan")
    return consultation


async def test_people_read_a_name_and_the_journal_keeps_the_account(world: World) -> None:
    consultation = await requested(world)
    await world.consultations.change(consultation, "invited")
    who = "沈若川, 主任医师 (shen.ruochuan)"
    view = await world.consultations.change(consultation, "accepted", who)
    assert (view.specialist, view.specialist_name, view.specialist_title) == ("shen.ruochuan", "沈若川", "主任医师")
    assert world.consultations.steps(consultation)[-1].who == who
    told = world.told("consultation")[-1]
    assert (told["specialist_name"], told["specialist_title"]) == ("沈若川", "主任医师")
    view = await world.consultations.receive_opinion(consultation, opinion(world, consultation))
    assert (view.specialist_name, view.specialist_title) == ("沈若川", "主任医师")


async def test_the_whole_way(world: World) -> None:
    consultation = await accepted(world)
    for step, state in (("connected", "connected"), ("interrupted", "interrupted"), ("connected", "connected")):
        view = await world.consultations.change(consultation, step)
        assert view.state == state
    view = await world.consultations.receive_opinion(consultation, opinion(world, consultation))
    assert (view.state, view.specialist, view.specialist_name) == ("opinion_signed", "shen.ruochuan", "沈若川")
    assert view.opinion is not None
    assert view.opinion["opinion"]["diagnosis"] == "囊型包虫病 CE2"
    view = await world.consultations.decide(consultation, "accept", "转县医院外科", DOCTOR, PINS[DOCTOR])
    assert (view.state, view.decision) == (
        "closed",
        {"decision": "accept", "plan": "转县医院外科", "by_name": "周敏", "at": format_time(world.clock.now())},
    )
    assert view.closed_at == world.clock.now()
    assert world.consultations.current() is None
    assert [step.state for step in world.consultations.steps(consultation)] == [
        "invited",
        "accepted",
        "connected",
        "interrupted",
        "connected",
        "opinion_signed",
        "closed",
    ]
    kinds = world.kinds()
    assert {"recording/1", "consultation/1", "opinion/1", "decision/1"} <= set(kinds)
    assert world.told("consultation")[-1]["state"] == "closed"


@pytest.mark.parametrize("empty", FIELDS)
async def test_all_five_fields_are_needed(world: World, empty: str) -> None:
    await world.serve()
    with pytest.raises(RequestIncomplete) as refusal:
        await world.consultations.request(ASKED | {empty: "  "}, "routine", SIGNED, DOCTOR)
    assert refusal.value.facts["fields"] == (empty,)
    assert world.consultations.current() is None


async def test_urgency_and_length_are_checked_too(world: World) -> None:
    await world.serve()
    with pytest.raises(RequestIncomplete) as refusal:
        await world.consultations.request(ASKED | {"history": "长" * 2001}, "soon", SIGNED, DOCTOR)
    assert refusal.value.facts["fields"] == ("history", "urgency")


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        (Consent(b"", True, "patient"), "signature"),
        (Consent(b"GIF89a", True, "patient"), "signature"),
        (Consent(PNG + b"0" * 500_000, True, "patient"), "signature"),
        (Consent(PNG, True, "neighbour"), "signed_by"),
        (Consent(PNG, True, "guardian", " ", "spouse"), "guardian_name"),
        (Consent(PNG, True, "guardian", "长" * 41, "spouse"), "guardian_name"),
        (Consent(PNG, True, "guardian", "杨国平", ""), "guardian_relation"),
        (Consent(PNG, True, "guardian", "杨国平", "neighbour"), "guardian_relation"),
    ],
)
async def test_no_consent_no_consultation(world: World, consent: Consent, reason: str) -> None:
    await world.serve()
    with pytest.raises(ConsentMissing) as refusal:
        await world.consultations.request(ASKED, "routine", consent, DOCTOR)
    assert refusal.value.facts["reason"] == reason
    assert "consultation/1" not in world.kinds()
    assert "recording/1" not in world.kinds()


async def test_a_guardian_signs_for_a_child(world: World) -> None:
    await world.serve(card("小明", date(2015, 5, 6), "013"))
    with pytest.raises(ConsentMissing) as refusal:
        await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)
    assert refusal.value.facts["reason"] == "guardian"
    consent = Consent(PNG, True, "guardian", " 李桂花 ", "mother")
    view = await world.consultations.request(ASKED, "urgent", consent, DOCTOR)
    who = {"signed_by": "guardian", "guardian_name": "李桂花", "guardian_relation": "mother"}
    assert who.items() <= view.consent.items()
    assert who.items() <= world.consultations.summary(view.consultation)["consent"].items(), "the specialist reads it"
    (row,) = world.store.read("SELECT facts_json FROM recordings WHERE what = 'signature'")
    assert who.items() <= json.loads(row["facts_json"]).items()


async def test_whoever_signs_for_themselves_names_no_guardian(world: World) -> None:
    view = world.consultations.get(await requested(world))
    assert "guardian_name" not in view.consent
    assert "guardian_name" not in world.consultations.summary(view.consultation)["consent"]


async def test_the_signature_is_a_recording_named_in_the_entry(world: World) -> None:
    consultation = await requested(world)
    consent = world.consultations.get(consultation).consent
    assert world.recordings.read(consent["signature_sha256"]) == SIGNED.signature_png
    row = world.store.read("SELECT what, media_type, bytes FROM recordings")[0]
    assert row == {"what": "signature", "media_type": "image/png", "bytes": len(SIGNED.signature_png)}
    assert consent["text_version"].startswith("consent/")
    assert consent["read_aloud"] is True


async def test_one_at_a_time(world: World) -> None:
    consultation = await requested(world)
    with pytest.raises(ConsultationOpen) as refusal:
        await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)
    assert refusal.value.facts["consultation"] == consultation
    await world.consultations.change(consultation, "cancelled", DOCTOR, "病人改变主意")
    assert world.consultations.get(consultation).reason == "病人改变主意"
    await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)


async def test_an_opinion_that_is_still_due_does_not_hold_up_the_next_person(world: World) -> None:
    first = await accepted(world)
    await world.consultations.change(first, "ended")
    await world.serve(card("陈国梁", order="043"))
    second = (await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)).consultation
    current = world.consultations.current()
    assert current is not None
    assert current.consultation == second
    await world.consultations.receive_opinion(first, opinion(world, first))
    await world.consultations.change(second, "cancelled", DOCTOR, "不需要了")
    current = world.consultations.current()
    assert current is not None
    assert (current.consultation, current.state) == (first, "opinion_signed")


@pytest.mark.parametrize("order", ["hung-up-first", "signed-first"])
async def test_that_the_session_is_over_outlasts_the_opinion(world: World, order: str) -> None:
    consultation = await accepted(world)
    await world.consultations.change(consultation, "connected")
    if order == "hung-up-first":
        await world.consultations.change(consultation, "ended", "shen.ruochuan")
    await world.consultations.receive_opinion(consultation, opinion(world, consultation))
    if order == "signed-first":
        assert "session_over" not in world.consultations.summary(consultation), "pictures may still flow"
        await world.consultations.change(consultation, "ended", "shen.ruochuan")
    entries = len(world.kinds())
    view = await world.consultations.change(consultation, "ended", DOCTOR)
    assert len(world.kinds()) == entries, "once is enough"
    assert (view.state, view.session_over) == ("opinion_signed", True)
    assert world.consultations.summary(consultation)["session_over"] is True
    assert world.consultations.get(consultation).session_over


async def test_nobody_served_nobody_asked(world: World) -> None:
    with pytest.raises(NoEncounter):
        await world.consultations.request(ASKED, "routine", SIGNED, DOCTOR)
    with pytest.raises(ConsultationUnknown):
        await world.consultations.change("consultation-0", "invited")


async def test_steps_follow_the_table_and_repeats_write_nothing(world: World) -> None:
    consultation = await requested(world)
    with pytest.raises(WrongMoment):
        await world.consultations.change(consultation, "connected")
    await world.consultations.change(consultation, "invited")
    entries = len(world.kinds())
    await world.consultations.change(consultation, "invited")
    assert len(world.kinds()) == entries
    with pytest.raises(WrongMoment):
        await world.consultations.change(consultation, "opinion_signed")


async def test_whoever_declines_says_why_and_may_be_asked_again(world: World) -> None:
    consultation = await requested(world)
    await world.consultations.change(consultation, "invited")
    with pytest.raises(ReasonMissing):
        await world.consultations.change(consultation, "declined", "shen.ruochuan", " ")
    view = await world.consultations.change(consultation, "declined", "shen.ruochuan", "正在手术")
    assert (view.state, view.reason) == ("declined", "正在手术")
    assert (await world.consultations.change(consultation, "invited", DOCTOR)).state == "invited"


async def test_the_same_opinion_twice_is_once(world: World) -> None:
    consultation = await accepted(world)
    signed = opinion(world, consultation)
    first = await world.consultations.receive_opinion(consultation, signed)
    entries = len(world.kinds())
    assert await world.consultations.receive_opinion(consultation, signed) == first
    assert len(world.kinds()) == entries
    row = world.store.read("SELECT opinion_json FROM consultations")[0]
    assert json.loads(row["opinion_json"])["signed_text"] == signed.signed_text


async def test_a_forged_or_misdirected_opinion_is_refused(world: World) -> None:
    consultation = await accepted(world)
    good = opinion(world, consultation)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for wrong in (
        good.model_copy(update={"signed_text": good.signed_text.replace("refer", "observe")}),
        good.model_copy(update={"public_key": opinion(world, consultation, other).public_key}),
        opinion(world, consultation, origin="van-09.example"),
        opinion(world, "consultation-0"),
    ):
        with pytest.raises(OpinionRefused):
            await world.consultations.receive_opinion(consultation, wrong)
    assert "opinion/1" not in world.kinds()
    await world.consultations.receive_opinion(consultation, good)
    with pytest.raises(OpinionRefused):
        await world.consultations.receive_opinion(consultation, opinion(world, consultation, other))


async def test_nobody_accepted_nobody_opines(world: World) -> None:
    consultation = await requested(world)
    with pytest.raises(WrongMoment):
        await world.consultations.receive_opinion(consultation, opinion(world, consultation))


async def test_the_decision_is_the_doctors_with_the_pin(world: World) -> None:
    consultation = await accepted(world)
    with pytest.raises(WrongMoment):
        await world.consultations.decide(consultation, "accept", "转诊", DOCTOR, PINS[DOCTOR])
    await world.consultations.receive_opinion(consultation, opinion(world, consultation))
    with pytest.raises(DecisionIncomplete):
        await world.consultations.decide(consultation, "accept", " ", DOCTOR, PINS[DOCTOR])
    with pytest.raises(DecisionIncomplete):
        await world.consultations.decide(consultation, "maybe", "转诊", DOCTOR, PINS[DOCTOR])
    with pytest.raises(NotADoctor):
        await world.consultations.decide(consultation, "accept", "转诊", NURSE, PINS[NURSE])
    with pytest.raises(WrongPin):
        await world.consultations.decide(consultation, "accept", "转诊", DOCTOR, "0000")
    assert "decision/1" not in world.kinds()
    view = await world.consultations.decide(consultation, "accept_partly", "先复查", DOCTOR, PINS[DOCTOR])
    assert await world.consultations.decide(consultation, "accept_partly", "先复查", DOCTOR, PINS[DOCTOR]) == view
    with pytest.raises(WrongMoment):
        await world.consultations.decide(consultation, "reject", "别的", DOCTOR, PINS[DOCTOR])
    assert world.kinds().count("decision/1") == 1


async def test_everything_survives_a_restart(world: World, tmp_path: Path) -> None:
    consultation = await accepted(world)
    before = world.consultations.get(consultation)
    world.close()
    again = World(tmp_path, world.clock, seed=2)
    assert again.consultations.current() == before
    assert before.specialist == "shen.ruochuan"
    await again.consultations.receive_opinion(consultation, opinion(again, consultation))
    again.close()


async def test_the_summary_tells_the_case_and_never_the_number(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(136, 84), DOCTOR)
    await world.encounters.close(DOCTOR)
    world.clock.advance(3600)
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    world.meter(6.4, meal="fasting", sequence=1)
    view = await world.consultations.request(ASKED, "urgent", SIGNED, DOCTOR)
    summary = world.consultations.summary(view.consultation)
    assert summary["patient"] == {
        "name": "杨桂芳",
        "sex": "female",
        "age": 67,
        "masked_id": "*" * 14 + id_number()[-4:],
    }
    assert summary["village"] == {"code": "510199201201", "name": "王家村", "township": "白果镇"}
    assert summary["doctor"] == {"id": DOCTOR, "name": "周敏", "role": "village_doctor"}
    assert summary["fields"] == ASKED
    assert (summary["practice"], summary["encounter"]) == (False, view.encounter)
    [reading] = summary["readings"]  # the unconfirmed glucose is nobody's
    assert (reading["grade"], reading["values"]["systolic_mmhg"]) == ("orange", 162)
    assert [point["values"]["systolic_mmhg"] for point in summary["trends"]] == [136]
    assert "BP-GRADE" in [prompt["rule"] for prompt in summary["prompts"]]
    text = json.dumps(summary, ensure_ascii=False)
    assert id_number() not in text
    assert "王家村3组" not in text
    assert len(text) < 60_000


async def test_the_specialist_reads_the_vans_words_in_any_language(world: World) -> None:
    await world.serve()
    await world.measurements.confirm(world.cuff(162, 98), DOCTOR)
    view = await world.consultations.request(ASKED, "urgent", SIGNED, DOCTOR)
    ours, theirs = (world.consultations.summary(view.consultation, language) for language in ("zh", "en"))
    told = in_all_languages(lambda language: world.consultations.summary(view.consultation, language))
    assert told | {"words": {}} == ours | {"words": {}}, "the van's own words stay where they were"
    assert set(told["words"]) == {"en"}
    for one, other in zip(ours["prompts"], theirs["prompts"], strict=True):
        assert told["words"]["en"][one["title"]] == other["title"]
        assert not re.search(r"[\u4e00-\u9fff]", other["title"])
    assert not told["words"]["en"].keys() & set(ASKED.values()), "what people typed has no other words"


def test_words_for_which_the_message_has_no_room_are_left_out() -> None:
    def summary(language: str | None) -> dict[str, Any]:
        return {"prompts": [{"title": (language or "zh") * 15_000}]}

    assert in_all_languages(summary) == summary(None)
