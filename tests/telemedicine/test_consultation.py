"""The state table of a consultation: every step that may happen, and a clear refusal of every other."""

from __future__ import annotations

import pytest

from telemedicine.consultation import LIVE, OPEN, TABLE, Event, State, WrongMoment, next_state, spoken


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
