"""Links into a session: wrong, expired, over, full; and what a page cannot do that it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from consultation_stage import ORIGIN, SUMMARY

from devices.clock import SimulatedClock
from sync.keys.vehicle_key import VehicleKey
from telemedicine.consultation import State
from telemedicine.exchange.guests import LINK_LASTS, MOST_GUESTS, LinkRefused
from telemedicine.exchange.rooms import Page, Rooms
from telemedicine.exchange.store import ExchangeStore
from telemedicine.invitation import case_of
from telemedicine.wire import MESSAGE_LIMIT_CHARACTERS, MessageRefused, Specialist, parse_from_page, parse_from_van

START = datetime(2025, 11, 21, 3, tzinfo=UTC)


class Told:
    """The other end of a link; ``of(type)`` is what it was told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, text: str) -> None:
        self.messages.append(json.loads(text))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


class County:
    """An exchange with one van and its live consultation."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimulatedClock(START)
        self.key = VehicleKey.load_or_create(folder / "van.key", ORIGIN)
        self.url = f"sqlite:///{folder / 'exchange.db'}"
        self.open()

    def open(self) -> None:
        self.store = ExchangeStore(self.url)
        verifier = self.key.verifier_key()
        self.rooms = Rooms(self.store, lambda origin: verifier if origin == ORIGIN else None, self.clock)
        self.van = Told()
        self.rooms.van_joined(ORIGIN, self.van)

    def case(self, state: State, consultation: str = "consultation-1") -> str:
        view = {"consultation": consultation, "state": state, "urgency": "urgent", "summary": SUMMARY}
        return case_of(view, self.key, Specialist(id="shen", name="沈若川")).text()

    def told(self, state: State) -> None:
        self.rooms.from_van(ORIGIN, parse_from_van(self.case(state)))

    def page(self, account: str, name: str = "") -> tuple[Page, Told]:
        told = Told()
        page = Page(Specialist(id=account, name=name or account), told)
        self.rooms.page_joined(page)
        return page, told

    def says(self, page: Page, **message: Any) -> None:
        self.rooms.from_page(page, parse_from_page(json.dumps({"consultation": "consultation-1"} | message)))


@pytest.fixture
def county(tmp_path: Path) -> Iterator[County]:
    ready = County(tmp_path)
    ready.told(State.CONNECTED)
    yield ready
    ready.store.close()


def link(county: County, role: str = "colleague") -> str:
    page, told = county.page("shen", "沈若川")
    county.says(page, type="share", role=role)
    county.rooms.page_left(page)
    return str(told.of("shared")[-1]["path"]).rpartition("/")[2]


def test_a_guest_sees_and_offers_as_what_the_link_says_and_still_after_a_restart(county: County) -> None:
    token = link(county, "observer")
    assert county.rooms.case_for("he", "consultation-1") is None
    assert county.rooms.join(token, Specialist(id="he", name="何平")) == "consultation-1"
    county.store.close()
    county.open()
    page, told = county.page("he")
    assert [person["role"] for person in told.of("welcome")[0]["cases"][0]["people"]] == ["lead", "observer"]
    county.says(page, type="offer", session="a_1", sdp="v=0 and more of it")
    (offer,) = county.van.of("offer")
    assert (offer["role"], offer["invited_by"]) == ("observer", "沈若川")
    county.says(page, type="hang_up")
    assert county.van.of("hang_up")[0]["role"] == "observer"


def test_a_guest_neither_shares_nor_signs(county: County) -> None:
    county.rooms.join(link(county), Specialist(id="he", name="何平"))
    page, _ = county.page("he")
    with pytest.raises(MessageRefused, match="not yours"):
        county.says(page, type="share", role="colleague")
    signed = {"consultation": "consultation-1", "signed_text": "{}", "signature": "AAAA", "public_key": "AAAA"}
    opinion = parse_from_page(json.dumps({"type": "opinion", "signed": signed}))
    with pytest.raises(MessageRefused, match="not yours"):
        county.rooms.from_page(page, opinion)


def is_over(county: County) -> bool:
    """Another browser of the specialist is told so, and its offer is refused."""
    page, told = county.page("shen")
    county.rooms.page_left(page)
    return bool(told.of("welcome")[0]["cases"][0]["session_over"]) and refusal_of(county, page) == "no_session"


def refusal_of(county: County, page: Page) -> str:
    try:
        county.says(page, type="offer", session="b_1", sdp="v=0 and more of it")
    except MessageRefused as refusal:
        return refusal.word
    return ""


def test_hung_up_is_over_for_every_browser_also_while_the_van_is_away(county: County) -> None:
    page, told = county.page("shen")
    assert not is_over(county)
    county.rooms.van_left(ORIGIN, county.van)
    county.says(page, type="hang_up")
    assert told.of("case")[-1]["case"]["session_over"] is True
    county.store.close()
    county.open()
    assert is_over(county), "also after a restart of the exchange"
    assert [one["consultation"] for one in county.van.of("hang_up")] == ["consultation-1"], "the van hears it later"
    county.told(State.ENDED)
    assert is_over(county)
    county.rooms.van_joined(ORIGIN, again := Told())
    assert not again.of("hang_up"), "it knows"


def test_what_the_van_has_ended_stays_over_when_the_opinion_comes(county: County) -> None:
    county.told(State.ENDED)
    signed = {"type": "state", "consultation": "consultation-1", "state": "opinion_signed"}
    county.rooms.from_van(ORIGIN, parse_from_van(json.dumps(signed)))
    assert is_over(county)


def test_the_mark_of_the_vans_journal_is_enough(county: County) -> None:
    county.told(State.OPINION_SIGNED)
    assert not is_over(county), "signed while they talk"
    view = {"consultation": "consultation-1", "state": State.OPINION_SIGNED, "urgency": "urgent"}
    case = case_of(
        view | {"summary": SUMMARY | {"session_over": True}}, county.key, Specialist(id="shen", name="沈若川")
    )
    county.rooms.from_van(ORIGIN, parse_from_van(case.text()))
    assert is_over(county)


@pytest.mark.parametrize("token", ["", "AAAA", "x" * 5_000, "../../etc/passwd"])
def test_a_link_that_was_not_made_here_leads_nowhere(county: County, token: str) -> None:
    with pytest.raises(LinkRefused) as refusal:
        county.rooms.join(token, Specialist(id="he", name="何平"))
    assert refusal.value.reason == "unknown"


def test_a_link_expires_and_ends_with_the_session(county: County) -> None:
    token = link(county)
    county.told(State.ENDED)
    with pytest.raises(LinkRefused) as refusal:
        county.rooms.shown_by(token)
    assert refusal.value.reason == "over"
    county.told(State.CONNECTED)
    county.clock.advance(LINK_LASTS / timedelta(seconds=1) + 1)
    with pytest.raises(LinkRefused) as refusal:
        county.rooms.join(token, Specialist(id="he", name="何平"))
    assert refusal.value.reason == "expired"
    assert county.rooms.case_for("he", "consultation-1") is None


def test_a_session_takes_only_so_many_guests_and_the_same_one_again(county: County) -> None:
    token = link(county)
    for number in range(MOST_GUESTS):
        county.rooms.join(token, Specialist(id=f"guest-{number}", name="x"))
    county.rooms.join(token, Specialist(id="guest-0", name="x"))
    with pytest.raises(LinkRefused) as refusal:
        county.rooms.join(token, Specialist(id="one-more", name="x"))
    assert refusal.value.reason == "full"


def test_an_invitation_of_another_key_or_changed_on_the_way_is_refused(county: County, tmp_path: Path) -> None:
    forged = json.loads(county.case(State.INVITED, "consultation-2"))
    forged["invitation"]["urgency"] = "routine"
    with pytest.raises(MessageRefused, match="signature"):
        county.rooms.from_van(ORIGIN, parse_from_van(json.dumps(forged)))
    forged["invitation"]["origin"] = "van-66.example"
    with pytest.raises(MessageRefused, match="you are"):
        county.rooms.from_van(ORIGIN, parse_from_van(json.dumps(forged)))
    assert county.rooms.case_for("he", "consultation-2") is None
    assert county.rooms.case_for("shen", "consultation-1") is not None, "the others go on"


def test_signalling_that_is_played_again_changes_nothing(county: County) -> None:
    page, told = county.page("shen", "沈若川")
    answer = {"type": "answer", "consultation": "consultation-1", "specialist": "shen", "session": "old_1"}
    county.rooms.from_van(ORIGIN, parse_from_van(json.dumps(answer | {"sdp": "v=0 and more of it"})))
    assert told.of("answer")[0]["session"] == "old_1", "a page takes answers to its own newest attempt only"
    with pytest.raises(MessageRefused, match="not a consultation of"):
        county.rooms.from_van("van-66.example", parse_from_van(json.dumps(answer | {"sdp": "v=0 and more of it"})))
    with pytest.raises(MessageRefused):
        county.says(page, type="accept")
    assert county.van.of("accept") == [], "who has accepted does not accept again"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"type":"offer"}',
        '{"type":"nonsense"}',
        '{"type":"ping","more":1}',
        "x" * (MESSAGE_LIMIT_CHARACTERS + 1),
    ],
)
def test_messages_that_are_none_or_too_long_are_refused_in_words(text: str) -> None:
    with pytest.raises(MessageRefused) as refusal:
        parse_from_page(text)
    assert 10 < len(str(refusal.value)) <= 500


def test_a_page_whose_clock_is_wrong_learns_the_time_here(county: County) -> None:
    page, told = county.page("shen")
    county.rooms.from_page(page, parse_from_page('{"type":"ping"}'))
    assert told.of("pong") == [{"type": "pong", "now": START.isoformat()}]
