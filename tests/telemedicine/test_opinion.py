"""A signed opinion is taken only as it was signed, for the consultation and the van it was signed for."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telemedicine.opinion import OpinionRefused, SignedOpinion, canonical_text, check_signing_time, verify_opinion

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNED_AT = "2025-11-21T03:32:00.000Z"


def document(**changes: Any) -> dict[str, object]:
    return {
        "format": "xunzhen-opinion/1",
        "consultation": "consultation-1",
        "origin": "van-07.example",
        "specialist": "shen.ruochuan",
        "specialist_name": "沈若川",
        "title": "主任医师",
        "institution": "青峪县人民医院",
        "opinion": {
            "template": "cystic_echinococcosis",
            "findings": "肝右叶囊性占位约 46×39 mm",
            "classification": "CE2",
            "diagnosis": "肝细粒棘球蚴病",
            "icd10": "B67.0",
            "action": "refer",
            "advice": "建议 2 周内到县医院外科门诊",
        },
        "signed_at": SIGNED_AT,
    } | changes


def signed(text: str, consultation: str = "consultation-1") -> SignedOpinion:
    return SignedOpinion(
        consultation=consultation,
        signed_text=text,
        signature=base64.b64encode(KEY.sign(text.encode())).decode(),
        public_key=base64.b64encode(KEY.public_key().public_bytes_raw()).decode(),
    )


def test_opinion_holds() -> None:
    text = verify_opinion(signed(canonical_text(document())), "consultation-1", "van-07.example")
    assert text.opinion.classification == "CE2"
    assert text.specialist_name == "沈若川"
    assert text.signed_at == datetime(2025, 11, 21, 3, 32, tzinfo=UTC)


def test_one_changed_character_is_refused() -> None:
    good = signed(canonical_text(document()))
    forged = good.model_copy(update={"signed_text": good.signed_text.replace("CE2", "CE5")})
    with pytest.raises(OpinionRefused, match="does not fit the text"):
        verify_opinion(forged, "consultation-1")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"format": "xunzhen-opinion/9"}, "format"),
        ({"signed_at": "2025-11-21T03:32:00"}, "signed_at"),
        ({"surprise": 1}, "surprise"),
        ({"opinion": {"findings": "x"}}, "opinion.diagnosis"),
    ],
)
def test_text_of_another_form_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(OpinionRefused, match=why):
        verify_opinion(signed(canonical_text(document(**fields))), "consultation-1")


def test_other_consultation_or_other_van_is_refused() -> None:
    opinion = signed(canonical_text(document()))
    with pytest.raises(OpinionRefused, match="is about consultation-1, not consultation-2"):
        verify_opinion(opinion, "consultation-2")
    with pytest.raises(OpinionRefused, match="addressed to van-07"):
        verify_opinion(opinion, "consultation-1", "van-08.example")


def test_text_that_is_not_canonical_is_refused() -> None:
    with pytest.raises(OpinionRefused, match="canonical"):
        verify_opinion(signed(canonical_text(document()).replace('","', '", "', 1)), "consultation-1")


@pytest.mark.parametrize(
    ("field", "content", "why"),
    [("signature", "!!", "base64"), ("signature", "AAAA", "3 bytes"), ("public_key", "AAAA", "3 bytes")],
)
def test_damaged_key_or_signature_is_refused(field: str, content: str, why: str) -> None:
    broken = signed(canonical_text(document())).model_copy(update={field: content})
    with pytest.raises(OpinionRefused, match=why):
        verify_opinion(broken, "consultation-1")


def test_wrong_clock_is_told() -> None:
    text = verify_opinion(signed(canonical_text(document())), "consultation-1")
    check_signing_time(text, text.signed_at + timedelta(minutes=9))
    with pytest.raises(OpinionRefused, match="set the computer's clock"):
        check_signing_time(text, text.signed_at + timedelta(minutes=11))
