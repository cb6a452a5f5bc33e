"""The state table of a consultation: every step that may happen, and a clear refusal of every other."""

from __future__ import annotations

import pytest

from telemedicine.consultation import (
    LIVE,
    OPEN,
    TABLE,
    Event,
    State,
    WrongMoment,
    next_state,
    read_who,
    spoken,
    write_who,
)


def walk(*events: Event) -> State:
    state = State.REQUESTED
    for event in events:
        state = next_state(state, event)
    return state


def test_whole_way_from_request_to_signed_decision() -> None:
    assert (
        walk(
            Event.INVITED,
            Event.ACCEPTED,
            Event.CONNECTED,
            Event.INTERRUPTED,
            Event.CONNECTED,
            Event.ENDED,
            Event.OPINION_SIGNED,
            Event.DECISION_SIGNED,
        )
        == State.CLOSED
    )


def test_opinion_without_a_live_link() -> None:
    assert walk(Event.INVITED, Event.ACCEPTED, Event.OPINION_SIGNED) == State.OPINION_SIGNED


def test_declined_can_be_invited_again() -> None:
    assert walk(Event.INVITED, Event.DECLINED, Event.INVITED) == State.INVITED


def test_media_events_after_the_opinion_change_nothing() -> None:
    signed = State.OPINION_SIGNED
    assert all(next_state(signed, event) == signed for event in (Event.CONNECTED, Event.INTERRUPTED, Event.ENDED))


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_every_pair_is_a_known_step_or_a_refusal_that_says_what_is_possible(state: State, event: Event) -> None:
    if event in TABLE[state]:
        assert next_state(str(state), str(event)) is TABLE[state][event]
    else:
        with pytest.raises(WrongMoment, match="possible now") as refusal:
            next_state(state, event)
        assert str(state) in str(refusal.value)
        assert str(event) in str(refusal.value)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(WrongMoment, match="'asleep'"):
        next_state("asleep", "invited")
    with pytest.raises(WrongMoment, match="'sneeze'"):
        next_state("invited", "sneeze")


def test_final_states_lead_nowhere_and_every_state_can_be_reached() -> None:
    for final in set(State) - OPEN:
        assert set(TABLE[final].values()) == {final}
    reached = {State.REQUESTED}
    while more := {after for state in reached for after in TABLE[state].values()} - reached:
        reached |= more
    assert reached == set(State)
    assert LIVE < OPEN


def test_every_state_is_spoken_in_both_languages() -> None:
    for language in ("zh", "en"):
        names = [spoken(state, language) for state in State]
        assert len(set(names)) == len(State)


@pytest.mark.parametrize(
    ("account", "name", "title", "who"),
    [
        ("shen.ruochuan", "沈若川", "主任医师", "沈若川, 主任医师 (shen.ruochuan)"),
        ("shen.ruochuan", "沈若川", "", "沈若川 (shen.ruochuan)"),
        ("o.neil", "Ann O'Neil", "Chief (surgery)", "Ann O'Neil, Chief (surgery) (o.neil)"),
    ],
)
def test_who_is_written_for_people_and_read_back(account: str, name: str, title: str, who: str) -> None:
    assert write_who(account, name, title) == who
    assert read_who(who) == (account, name, title)


def test_who_is_never_longer_than_the_vehicle_takes_and_bare_ids_stay_readable() -> None:
    assert len(write_who("a" * 64, "n" * 80, "t, " * 40)) <= 120
    assert read_who("shen.ruochuan") == ("shen.ruochuan", "shen.ruochuan", "")
    assert read_who("") == ("", "", "")
