"""The vehicle's view of a consultation as the case that the exchange is told, its invitation signed."""

from __future__ import annotations

import base64
from typing import Any

from sync.keys.vehicle_key import PurposeSigner
from telemedicine.consultation import State
from telemedicine.wire import INVITATION, Case, Invitation, Specialist, invitation_bytes

NOBODY_YET = frozenset({State.REQUESTED, State.INVITED, State.DECLINED})


def case_of(
    view: dict[str, Any], key: PurposeSigner, specialist: Specialist | None, dtls_fingerprint: str | None = None
) -> Case:
    """
    :param view: what ``GET /api/consultation`` says
    :param specialist: who accepted, as far as this process knows
    :param dtls_fingerprint: of the certificate that our connections show
    """
    summary = dict(view.get("summary") or {})
    consultation, urgency = str(view["consultation"]), str(view.get("urgency") or "")
    requested_at = str(view.get("requested_at") or summary.get("requested_at") or "")
    signed = invitation_bytes(consultation, key.name, urgency, requested_at, summary, dtls_fingerprint)
    invitation = Invitation(
        consultation=consultation,
        origin=key.name,
        urgency=urgency,
        requested_at=requested_at,
        summary=summary,
        dtls_fingerprint=dtls_fingerprint,
        signature=base64.b64encode(key.sign_for(INVITATION, signed)).decode(),
    )
    state = State(view["state"])
    decision = view.get("decision") or summary.get("decision")
    return Case(
        invitation=invitation,
        state=state,
        specialist=None if state in NOBODY_YET else specialist,
        decision=dict(decision) if isinstance(decision, dict) else None,
    )
