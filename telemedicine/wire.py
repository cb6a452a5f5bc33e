"""Messages between van, exchange and specialist's page: JSON text frames with a ``type``, each with limits.

``parse_*`` refuses what is too long, not JSON, of an unknown type, with unknown fields or over a field's limit, with
words that can be sent back to the sender; a refused message changes nothing for anybody else.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from devices.errors import DropFrame
from sync.formats.relay_address import TURN_URL
from telemedicine.consultation import LIVE, State
from telemedicine.opinion import Identifier, SignedOpinion, canonical_text

MESSAGE_LIMIT_CHARACTERS = 200_000
SDP_LIMIT_CHARACTERS = 60_000
SUMMARY_LIMIT_CHARACTERS = 60_000
CHALLENGE = "exchange-challenge"
INVITATION = "consultation-invitation"
"""Purposes of the vehicle's signatures (``sync.keys.vehicle_key.VehicleKey.sign_for``)."""
CASE_REFUSED, MESSAGE_REFUSED = "case_refused", "message_refused"
"""Codes of a ``Fault``: specialists don't see the van's case; or some other message was not taken."""

Sdp = Annotated[str, Field(min_length=10, max_length=SDP_LIMIT_CHARACTERS)]
Session = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""A page's own name for one of its attempts to connect, "<page>_<attempt>"; an answer carries it back."""
Reason = Annotated[str, Field(min_length=1, max_length=400)]
RefusalWord = Annotated[str, Field(pattern=r"^[a-z_]{1,30}$")]
"""Names what was wrong, so that a page can say it in its language."""
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{1,200}={0,2}$")]
TurnUrl = Annotated[str, Field(max_length=300, pattern=TURN_URL)]


Role = Literal["lead", "colleague", "observer"]
"""What a specialist is in a session: who accepted and signs; who talks and points; who looks and listens."""
GuestRole = Literal["colleague", "observer"]


class MessageRefused(DropFrame):
    """The message is not taken; ``str()`` says why, for the sender's log.

    :param word: what a page says of it, in its own language: ``refused_<word>`` of the specialist's texts
    """

    code = "message_refused"

    def __init__(self, message: str, word: str = "unreadable") -> None:
        super().__init__(message)
        self.word = word


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def text(self) -> str:
        return self.model_dump_json(exclude_none=True)


class Specialist(Message):
    """Who accepts, as the county's accounts know them."""

    id: Identifier
    name: Annotated[str, Field(max_length=80)]
    title: Annotated[str, Field(max_length=80)] = ""
    institution: Annotated[str, Field(max_length=120)] = ""


class Invitation(Message):
    """What the van asks, signed with the vehicle's key over ``invitation_bytes``."""

    consultation: Identifier
    origin: Identifier
    urgency: Annotated[str, Field(max_length=40)]
    requested_at: Annotated[str, Field(max_length=40)]
    summary: dict[str, Any]
    dtls_fingerprint: Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$")] | None = None
    """SHA-256 of the certificate that every connection of this van shows (RFC 8122)."""
    signature: Base64


# van -> exchange ---------------------------------------------------------------------------------------------------


class Hello(Message):
    """Answer to the challenge: ``signature`` over ``challenge_bytes``."""

    type: Literal["hello"] = "hello"
    origin: Identifier
    signature: Base64


class Case(Message):
    """The consultation as the van's journal has it now; sent on joining and after every change."""

    type: Literal["case"] = "case"
    invitation: Invitation
    state: State
    specialist: Specialist | None = None
    decision: dict[str, Any] | None = None

    @property
    def session_over(self) -> bool:
        """The live session was hung up, also where the state has gone on since: its opinion was signed afterwards."""
        return self.state == State.ENDED or self.invitation.summary.get("session_over") is True

    @property
    def live(self) -> bool:
        """A specialist's browser may have a media session."""
        return self.state in LIVE and not self.session_over


class StateChanged(Message):
    """A consultation that is no longer the current one went on: its opinion came, it was closed or cancelled."""

    type: Literal["state"] = "state"
    consultation: Identifier
    state: State
    decision: dict[str, Any] | None = None


class Cases(Message):
    """The consultations in the van that somebody is waiting on or talking in. Of the others only those stay open whose
    opinion or decision is still due."""

    type: Literal["cases"] = "cases"
    consultations: Annotated[list[Identifier], Field(max_length=100)]


class Answer(Message):
    type: Literal["answer"] = "answer"
    consultation: Identifier
    specialist: Identifier
    session: Session
    sdp: Sdp


class Refused(Message):
    """Something a specialist asked was refused by the van; ``about`` is the message's type."""

    type: Literal["refused"] = "refused"
    consultation: Identifier
    specialist: Identifier
    session: Session | None = None
    about: Annotated[str, Field(max_length=20)]
    reason: Reason
    word: RefusalWord = "wrong_moment"


class OpinionStored(Message):
    """The opinion is in the van's journal."""

    type: Literal["opinion_stored"] = "opinion_stored"
    consultation: Identifier
    signature: Base64


# exchange -> van ---------------------------------------------------------------------------------------------------


class Challenge(Message):
    type: Literal["challenge"] = "challenge"
    nonce: Base64


class Welcome(Message):
    type: Literal["welcome"] = "welcome"


class Relay(Message):
    """TURN servers that take one pair of name and password, the preferred first (RFC 7065)."""

    urls: Annotated[list[TurnUrl], Field(min_length=1, max_length=10)]
    username: Annotated[str, Field(max_length=200)]
    credential: Annotated[str, Field(max_length=200)]


class Relays(Message):
    """To a van that has proven itself and to each page of a specialist: through whom media may go when there is no
    direct way. New ones come long before ``expires_at``."""

    type: Literal["relays"] = "relays"
    relays: Annotated[list[Relay], Field(max_length=4)]
    expires_at: Annotated[str, Field(max_length=40)]


class Accept(Message):
    type: Literal["accept"] = "accept"
    consultation: Identifier
    specialist: Specialist


class Decline(Message):
    type: Literal["decline"] = "decline"
    consultation: Identifier
    specialist: Specialist
    reason: Reason


class Offer(Message):
    type: Literal["offer"] = "offer"
    consultation: Identifier
    specialist: Specialist
    session: Session
    sdp: Sdp
    role: Role = "lead"
    invited_by: Annotated[str, Field(max_length=80)] = ""
    """Name of who made the link by which a guest came."""


class HangUp(Message):
    """A guest leaves; when the lead hangs up, the session ends for all."""

    type: Literal["hang_up"] = "hang_up"
    consultation: Identifier
    specialist: Specialist
    role: Role = "lead"


class OpinionSigned(Message):
    type: Literal["opinion"] = "opinion"
    specialist: Specialist
    signed: SignedOpinion


class Fault(Message):
    """Any side: your last message was not taken. ``code`` is stable, ``message`` for the log, ``word`` for people."""

    type: Literal["error"] = "error"
    code: Annotated[str, Field(max_length=60)]
    message: Annotated[str, Field(max_length=600)]
    word: RefusalWord = "unreadable"


# specialist's page -> exchange -------------------------------------------------------------------------------------


class PageAccept(Message):
    type: Literal["accept"]
    consultation: Identifier


class PageDecline(Message):
    type: Literal["decline"]
    consultation: Identifier
    reason: Reason


class PageOffer(Message):
    type: Literal["offer"]
    consultation: Identifier
    session: Session
    sdp: Sdp


class PageHangUp(Message):
    type: Literal["hang_up"]
    consultation: Identifier


class PageShare(Message):
    """Make a link by which another specialist joins."""

    type: Literal["share"]
    consultation: Identifier
    role: GuestRole


class PagePing(Message):
    """Is the line up? A computer that slept finds out by the missing answer."""

    type: Literal["ping"]


class PageOpinion(Message):
    type: Literal["opinion"]
    signed: SignedOpinion


FromVan = Case | Cases | StateChanged | Answer | Refused | OpinionStored | Fault
FromExchange = Challenge | Welcome | Relays | Accept | Decline | Offer | HangUp | OpinionSigned | Fault
FromPage = PageAccept | PageDecline | PageOffer | PageHangUp | PageShare | PagePing | PageOpinion

_FROM_VAN: TypeAdapter[FromVan] = TypeAdapter(Annotated[FromVan, Field(discriminator="type")])
_FROM_EXCHANGE: TypeAdapter[FromExchange] = TypeAdapter(Annotated[FromExchange, Field(discriminator="type")])
_FROM_PAGE: TypeAdapter[FromPage] = TypeAdapter(Annotated[FromPage, Field(discriminator="type")])
_HELLO: TypeAdapter[Hello] = TypeAdapter(Hello)

M = TypeVar("M")


def parse_from_van(text: str) -> FromVan:
    """:raises MessageRefused: see the module"""
    message = _parse(_FROM_VAN, text)
    if isinstance(message, Case) and len(json.dumps(message.invitation.summary)) > SUMMARY_LIMIT_CHARACTERS:
        raise MessageRefused(
            f"the summary is longer than {SUMMARY_LIMIT_CHARACTERS} characters; shorten the history", "too_long"
        )
    return message


def parse_hello(text: str) -> Hello:
    """:raises MessageRefused: see the module"""
    return _parse(_HELLO, text)


def parse_from_exchange(text: str) -> FromExchange:
    """:raises MessageRefused: see the module"""
    return _parse(_FROM_EXCHANGE, text)


def parse_from_page(text: str) -> FromPage:
    """:raises MessageRefused: see the module"""
    return _parse(_FROM_PAGE, text)


def type_of(text: str) -> str:
    """What a refused message was meant to be; empty when it does not say."""
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    return str(document.get("type", "")) if isinstance(document, dict) else ""


def challenge_bytes(nonce: str, origin: str) -> bytes:
    """What the van signs, for the purpose ``CHALLENGE``, to prove who it is."""
    return f"{origin}\n{nonce}\n".encode()


def invitation_bytes(
    consultation: str,
    origin: str,
    urgency: str,
    requested_at: str,
    summary: dict[str, Any],
    dtls_fingerprint: str | None = None,
) -> bytes:
    """What the van signs as its invitation, for the purpose ``INVITATION``: canonical JSON of the other fields that
    are there."""
    document: dict[str, object] = {
        "consultation": consultation,
        "origin": origin,
        "urgency": urgency,
        "requested_at": requested_at,
        "summary": summary,
    }
    if dtls_fingerprint is not None:
        document["dtls_fingerprint"] = dtls_fingerprint
    return canonical_text(document).encode()


def _parse(adapter: TypeAdapter[M], text: str) -> M:
    if len(text) > MESSAGE_LIMIT_CHARACTERS:
        said = f"a message has at most {MESSAGE_LIMIT_CHARACTERS} characters, this one has {len(text)}"
        raise MessageRefused(said, "too_long")
    try:
        return adapter.validate_json(text)
    except ValidationError as fault:
        first = fault.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MessageRefused(f"{where or 'message'}: {first['msg']}"[:500]) from None
