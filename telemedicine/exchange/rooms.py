"""Where vans and specialists find each other: who is here, which case is whose, and what may be passed on.

Nothing here knows WebSockets: a ``Link`` is anything that takes text. Each message that a van or a page sends is judged
by itself; a refusal goes back to its sender and touches nobody else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Protocol

from devices.clock import Clock
from devices.events import emit
from sync.formats.notes import VerifierKey, unb64
from sync.keys.vehicle_key import verify_for
from telemedicine.consultation import LIVE, OPEN, Event, State, WrongMoment, next_state
from telemedicine.exchange.guests import Guests, LinkRefused
from telemedicine.exchange.store import ExchangeStore, Guest, JoinLink, KeptCase, opinion_content
from telemedicine.opinion import OpinionRefused, check_signing_time, verify_opinion
from telemedicine.wire import (
    INVITATION,
    Accept,
    Answer,
    Case,
    Cases,
    Decline,
    Fault,
    FromPage,
    FromVan,
    HangUp,
    Invitation,
    Message,
    MessageRefused,
    Offer,
    OpinionSigned,
    OpinionStored,
    PageAccept,
    PageDecline,
    PageHangUp,
    PageOffer,
    PageOpinion,
    PagePing,
    PageShare,
    Refused,
    Specialist,
    StateChanged,
    invitation_bytes,
)

MOST_CASES_OF_A_VAN = 50
MOST_DONE_CASES = 200
PAPERWORK = (frozenset(State) - OPEN) | {State.ENDED, State.OPINION_SIGNED}
"""States without a live session to come: over, or only opinion or decision due. They wait for their own news."""
PASSWORD_HOLDS_S = 300.0
"""How long a confirmed password allows signing with the key it was confirmed for."""


class Link(Protocol):
    def send(self, text: str) -> None:
        """Queue ``text``; a link whose other end does not read closes itself."""


class Page:
    """One open page of a specialist; ``link`` takes JSON texts."""

    def __init__(self, specialist: Specialist, link: Link) -> None:
        self.specialist = specialist
        self.link = link


class Rooms:
    def __init__(
        self,
        store: ExchangeStore,
        verifier: Callable[[str], VerifierKey | None],
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """:param verifier: the key trusted for a journal's origin, None when it is not enrolled"""
        self._store = store
        self._guests = Guests(store, clock, random_bytes)
        self._verifier = verifier
        self._clock = clock
        self._vans: dict[str, Link] = {}
        self._pages: list[Page] = []
        self._cases = {case.invitation.consultation: case for case in store.open_cases()}
        self._asked: dict[str, str] = {}
        """Consultation -> account whose acceptance the van has not yet confirmed."""
        self._declined: dict[str, set[str]] = {}
        self._confirmed: dict[str, tuple[str, float]] = {}
        """Account -> (public key, monotonic time of the password check)."""

    # vans

    def van_joined(self, origin: str, link: Link) -> None:
        """The van has proven that it is ``origin``; an older link of the same van is superseded."""
        self._vans[origin] = link
        emit("van_joined", origin=origin)
        for specialist, signed in self._store.opinions_for(origin):
            link.send(OpinionSigned(specialist=specialist, signed=signed).text())
        for case in self._cases.values():
            if case.invitation.origin == origin and case.hung_up and case.state in LIVE:
                link.send(_hang_up(case).text())  # it was away when the specialist hung up
        self._tell_all_of(origin)

    def van_left(self, origin: str, link: Link) -> None:
        if self._vans.get(origin) is link:
            del self._vans[origin]
            for consultation in [name for name in self._asked if self._origin_of(name) == origin]:
                del self._asked[consultation]
            emit("van_left", origin=origin)
            self._tell_all_of(origin)

    def from_van(self, origin: str, message: FromVan) -> None:
        """:raises MessageRefused: the message is about another van's case, or its signature does not hold"""
        match message:
            case Case():
                self._take_case(origin, message)
            case Cases():
                for name in [name for name, case in self._cases.items() if case.invitation.origin == origin]:
                    if name not in message.consultations and self._cases[name].state not in PAPERWORK:
                        self._forget(name)
            case StateChanged() if message.consultation not in self._cases:
                pass  # ended before it was ever told here
            case StateChanged():
                case = self._own_case(origin, message.consultation)
                decision = message.decision or case.decision
                update = {"state": message.state, "decision": decision, "hung_up": case.session_over}
                self._keep(case.model_copy(update=update))
                self._tell(message.consultation)
            case Answer() | Refused():
                self._own_case(origin, message.consultation)
                if isinstance(message, Refused) and message.about == "accept":
                    self._asked.pop(message.consultation, None)
                self._to_pages_of(message.specialist, message.text())
            case OpinionStored():
                self._own_case(origin, message.consultation)
                if self._store.opinion_stored(message.consultation, message.signature, self._clock.now()):
                    self._tell(message.consultation)
            case Fault():
                emit("signalling_refused", who=origin, reason=message.message[:200])

    def _take_case(self, origin: str, case: Case) -> None:
        invitation = case.invitation
        if invitation.origin != origin:
            raise MessageRefused(f"the invitation is of {invitation.origin}, you are {origin}")
        known = self._cases.get(invitation.consultation)
        if known is not None and known.invitation.origin != origin:
            raise MessageRefused(f"{invitation.consultation} belongs to another van")
        if not self._signature_holds(invitation):
            raise MessageRefused("the invitation's signature does not fit; check the vehicle's key at the county")
        if known is None and self._open_cases_of(origin) >= MOST_CASES_OF_A_VAN:
            raise MessageRefused(f"a van has at most {MOST_CASES_OF_A_VAN} open consultations; close some first")
        if case.state in (State.REQUESTED, State.INVITED) and known is not None and known.state == State.DECLINED:
            self._declined.pop(invitation.consultation, None)
        if case.specialist is None and known is not None and case.state not in (State.REQUESTED, State.INVITED):
            case = case.model_copy(update={"specialist": known.specialist})  # the van restarted in the middle
        if case.specialist is not None:
            self._asked.pop(invitation.consultation, None)
        self._keep(KeptCase(**dict(case), hung_up=known is not None and known.session_over))
        self._forget_oldest()
        self._tell(invitation.consultation)

    def _keep(self, case: KeptCase) -> None:
        self._cases[case.invitation.consultation] = case
        self._store.put_case(case)

    def _signature_holds(self, invitation: Invitation) -> bool:
        key = self._verifier(invitation.origin)
        signed = invitation_bytes(
            invitation.consultation,
            invitation.origin,
            invitation.urgency,
            invitation.requested_at,
            invitation.summary,
            invitation.dtls_fingerprint,
        )
        return key is not None and verify_for(key, INVITATION, signed, unb64(invitation.signature))

    # pages

    def page_joined(self, page: Page) -> None:
        self._pages.append(page)
        seen = [name for name in self._cases if self._sees(page.specialist.id, name)]
        welcome = {
            "type": "welcome",
            "now": self._clock.now().isoformat(),
            "specialist": page.specialist.model_dump(),
            "cases": [self.card(name) for name in seen],
        }
        page.link.send(_json(welcome))

    def page_left(self, page: Page) -> None:
        if page in self._pages:
            self._pages.remove(page)

    def from_page(self, page: Page, message: FromPage) -> None:
        """:raises MessageRefused: not this specialist's case, the wrong moment, or the van is away"""
        match message:
            case PageAccept():
                self._accept(page, message.consultation)
            case PageDecline():
                case = self._moment(message.consultation, Event.DECLINED)
                decline = Decline(consultation=message.consultation, specialist=page.specialist, reason=message.reason)
                self._to_van(case, decline)
                self._declined.setdefault(message.consultation, set()).add(page.specialist.id)
            case PageOffer():
                case, guest = self._seen_by(page, message.consultation)
                if not case.live:
                    said = "the session was hung up" if case.session_over else f"the consultation is {case.state}"
                    raise MessageRefused(f"{said}; there is no live session now", "no_session")
                offer = Offer(
                    consultation=message.consultation,
                    specialist=page.specialist,
                    session=message.session,
                    sdp=message.sdp,
                    role=guest.role if guest else "lead",
                    invited_by=guest.invited_by if guest else "",
                )
                self._to_van(case, offer)
            case PageHangUp():
                case, guest = self._seen_by(page, message.consultation)
                if guest is None:
                    self._end(case)
                else:
                    leaving = HangUp(consultation=message.consultation, specialist=page.specialist, role=guest.role)
                    self._to_van(case, leaving)
            case PageShare():
                self._share(page, message)
            case PagePing():
                page.link.send(_json({"type": "pong", "now": self._clock.now().isoformat()}))
            case PageOpinion():
                self._take_opinion(page, message)

    def confirm_password(self, account: str, public_key: str) -> None:
        """The account's password was right just now: for a while it may sign with ``public_key``."""
        self._confirmed[account] = (public_key, self._clock.monotonic_s())

    def card(self, consultation: str) -> dict[str, Any]:
        """A case as a page shows it."""
        case = self._cases[consultation]
        kept = self._store.opinion(consultation)
        return {
            "consultation": consultation,
            "state": str(case.state),
            "origin": case.invitation.origin,
            "urgency": case.invitation.urgency,
            "requested_at": case.invitation.requested_at,
            "summary": case.invitation.summary,
            "specialist": case.specialist.id if case.specialist is not None else None,
            "session_over": case.session_over,
            "people": self._people(consultation),
            "dtls_fingerprint": case.invitation.dtls_fingerprint,
            "van_online": case.invitation.origin in self._vans,
            "opinion": None if kept is None else {"in_journal": kept[1], "content": opinion_content(kept[0])},
            "decision": case.decision,
        }

    def _people(self, consultation: str) -> list[dict[str, str]]:
        """Who takes part: the one who accepted, then the guests."""
        lead = self._cases[consultation].specialist
        people: list[tuple[Specialist, str, str]] = [] if lead is None else [(lead, "lead", "")]
        people += [(guest.specialist, guest.role, guest.invited_by) for guest in self._guests.of(consultation).values()]
        return [
            {
                "id": who.id,
                "name": who.name,
                "title": who.title,
                "role": role,
                "invited_by": by,
            }
            for who, role, by in people
        ]

    def _share(self, page: Page, message: PageShare) -> None:
        case = self._case_of(page, message.consultation)
        if not case.live:
            raise MessageRefused(f"the consultation is {case.state}; there is no session to share", "no_session")
        token, link = self._guests.share(message.consultation, message.role, page.specialist.name)
        told = {
            "type": "shared",
            "consultation": message.consultation,
            "role": link.role,
            "path": f"/specialist/join/{token}",
            "expires_at": link.expires_at.isoformat(),
        }
        emit("session_shared", consultation=message.consultation, who=page.specialist.id, role=link.role)
        page.link.send(_json(told))

    def shown_by(self, token: str) -> tuple[JoinLink, dict[str, Any]]:
        """What a link leads to, before anybody joins.

        :raises LinkRefused: unknown, expired, or the session is over
        """
        link = self._guests.link(token)
        case = self._cases.get(link.consultation)
        if case is None or not case.live:
            raise LinkRefused("over", "this session is over")
        return link, self.card(link.consultation)

    def join(self, token: str, specialist: Specialist) -> str:
        """Let ``specialist`` into the session of the link; its consultation. Again changes nothing.

        :raises LinkRefused: see ``shown_by``; or there are enough guests
        """
        link, card = self.shown_by(token)
        if card["specialist"] != specialist.id:
            self._guests.admit(link, specialist)
            emit("session_joined", consultation=link.consultation, who=specialist.id, role=link.role)
            self._tell(link.consultation)
        return link.consultation

    def case_for(self, account: str, consultation: str) -> dict[str, Any] | None:
        """The card when this specialist may see it, else None."""
        return self.card(consultation) if self._sees(account, consultation) else None

    def _end(self, case: KeptCase) -> None:
        """The session is over from now on; a van that is away hears it when it comes back."""
        self._keep(case.model_copy(update={"hung_up": True}))
        van = self._vans.get(case.invitation.origin)
        if van is not None:
            van.send(_hang_up(case).text())
        self._tell(case.invitation.consultation)

    def _accept(self, page: Page, consultation: str) -> None:
        case = self._moment(consultation, Event.ACCEPTED)
        asked = self._asked.get(consultation)
        taken_by = case.specialist.id if case.specialist is not None else asked
        if taken_by not in (None, page.specialist.id):
            raise MessageRefused("another specialist has just accepted this invitation", "taken")
        self._to_van(case, Accept(consultation=consultation, specialist=page.specialist))
        self._asked[consultation] = page.specialist.id

    def _take_opinion(self, page: Page, message: PageOpinion) -> None:
        signed, account = message.signed, page.specialist.id
        case = self._case_of(page, signed.consultation)
        self._moment(signed.consultation, Event.OPINION_SIGNED)
        try:
            text = verify_opinion(signed, signed.consultation, case.invitation.origin)
            check_signing_time(text, self._clock.now())
        except OpinionRefused as refusal:
            raise MessageRefused(str(refusal), refusal.word) from None
        if text.specialist != account:
            said = f"the text names {text.specialist} as its author, you are signed in as {account}"
            raise MessageRefused(said, "not_yours")
        key, confirmed_s = self._confirmed.get(account, ("", float("-inf")))
        if key != signed.public_key or self._clock.monotonic_s() - confirmed_s > PASSWORD_HOLDS_S:
            raise MessageRefused("confirm your password and sign again", "password_again")
        self._store.put_opinion(case.invitation.origin, page.specialist, signed, self._clock.now())
        van = self._vans.get(case.invitation.origin)
        if van is not None:
            van.send(OpinionSigned(specialist=page.specialist, signed=signed).text())
        self._tell(signed.consultation)

    # who sees what

    def _sees(self, account: str, consultation: str) -> bool:
        case = self._cases.get(consultation)
        if case is None:
            return False
        if case.specialist is not None:
            return case.specialist.id == account or account in self._guests.of(consultation)
        return case.state == State.INVITED and account not in self._declined.get(consultation, set())

    def _moment(self, consultation: str, event: Event) -> KeptCase:
        case = self._cases.get(consultation)
        if case is None:
            raise MessageRefused("this consultation is over or was withdrawn; reload the list", "over")
        try:
            next_state(case.state, event)
        except WrongMoment as fault:
            raise MessageRefused(str(fault), "wrong_moment") from None
        return case

    def _case_of(self, page: Page, consultation: str) -> KeptCase:
        case = self._cases.get(consultation)
        if case is None or case.specialist is None or case.specialist.id != page.specialist.id:
            raise MessageRefused("this consultation is not yours, or it is over; reload the list", "not_yours")
        return case

    def _seen_by(self, page: Page, consultation: str) -> tuple[KeptCase, Guest | None]:
        """The case and, unless the page is of the specialist who accepted, as which guest it looks on."""
        guest = self._guests.of(consultation).get(page.specialist.id)
        case = self._cases.get(consultation)
        if guest is None or case is None or (case.specialist is not None and case.specialist.id == page.specialist.id):
            return self._case_of(page, consultation), None
        return case, guest

    def _own_case(self, origin: str, consultation: str) -> KeptCase:
        case = self._cases.get(consultation)
        if case is None or case.invitation.origin != origin:
            raise MessageRefused(f"{consultation} is not a consultation of {origin}")
        return case

    def _origin_of(self, consultation: str) -> str | None:
        case = self._cases.get(consultation)
        return case.invitation.origin if case is not None else None

    # telling

    def _to_van(self, case: Case, message: Message) -> None:
        van = self._vans.get(case.invitation.origin)
        if van is None:
            raise MessageRefused("the van is not connected; it comes back by itself, try again in a moment", "van_away")
        van.send(message.text())

    def _to_pages_of(self, account: str, text: str) -> None:
        for page in tuple(self._pages):
            if page.specialist.id == account:
                page.link.send(text)

    def _tell(self, consultation: str) -> None:
        shown = _json({"type": "case", "case": self.card(consultation)})
        gone = _json({"type": "gone", "consultation": consultation})
        for page in tuple(self._pages):
            page.link.send(shown if self._sees(page.specialist.id, consultation) else gone)

    def _tell_all_of(self, origin: str) -> None:
        for consultation in [name for name, case in self._cases.items() if case.invitation.origin == origin]:
            self._tell(consultation)

    def _open_cases_of(self, origin: str) -> int:
        return sum(case.invitation.origin == origin and case.state not in PAPERWORK for case in self._cases.values())

    def _forget(self, consultation: str) -> None:
        del self._cases[consultation]
        self._asked.pop(consultation, None)
        self._declined.pop(consultation, None)
        self._guests.forget(consultation)
        self._store.drop_case(consultation)
        gone = _json({"type": "gone", "consultation": consultation})
        for page in tuple(self._pages):
            page.link.send(gone)

    def _forget_oldest(self) -> None:
        """What is over, or long since ended, does not stay for ever; the journals have it."""
        done = [name for name, case in self._cases.items() if case.state in PAPERWORK]
        for name in done[:-MOST_DONE_CASES]:
            self._forget(name)


def _hang_up(case: KeptCase) -> HangUp:
    """Of the specialist who leads the session."""
    assert case.specialist is not None
    return HangUp(consultation=case.invitation.consultation, specialist=case.specialist)


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)
