"""The states of a consultation as one table, to be held against the flow on paper. Pure.

    requested -> invited -> accepted -> connected <-> interrupted -> ended
                    |           |            \\            |           /
                 declined       `-------------- opinion_signed -> closed
                    |
                 invited (again), cancelled

The van's vehicle process owns the state (it is in the journal); the media process, the exchange and both screens only
propose events. An event that repeats what is already so leaves the state as it is, because after a restart each side
tells the others again what it knows: ``next_state`` then returns the same state and nothing needs to be written.
"""

from __future__ import annotations

import re
from enum import StrEnum

from devices.errors import AskPerson

LONGEST_NAME = 24
_WHO = re.compile(r"(?P<name>[^,]+?)(?:, (?P<title>.+))? \((?P<id>[^()\s]+)\)")


class State(StrEnum):
    REQUESTED = "requested"
    """The village doctor has filled the five fields and the patient has consented."""
    INVITED = "invited"
    """The exchange holds the invitation; specialists see it."""
    ACCEPTED = "accepted"
    """A specialist took it; no media yet. An opinion may be signed without a live link."""
    CONNECTED = "connected"
    """Pictures, voice and live data flow."""
    INTERRUPTED = "interrupted"
    """The link is away; both sides come back by themselves."""
    ENDED = "ended"
    """The live session was hung up; the opinion is still due."""
    DECLINED = "declined"
    """A specialist declined with a reason; the doctor may invite again or cancel."""
    CANCELLED = "cancelled"
    OPINION_SIGNED = "opinion_signed"
    """The signed opinion is in the journal; the doctor's own decision is due. The live session may still run."""
    CLOSED = "closed"
    """The village doctor has signed the decision."""


class Event(StrEnum):
    INVITED = "invited"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    CONNECTED = "connected"
    INTERRUPTED = "interrupted"
    ENDED = "ended"
    OPINION_SIGNED = "opinion_signed"
    DECISION_SIGNED = "decision_signed"


TABLE: dict[State, dict[Event, State]] = {
    State.REQUESTED: {
        Event.INVITED: State.INVITED,
        Event.CANCELLED: State.CANCELLED,
    },
    State.INVITED: {
        Event.INVITED: State.INVITED,
        Event.ACCEPTED: State.ACCEPTED,
        Event.DECLINED: State.DECLINED,
        Event.CANCELLED: State.CANCELLED,
    },
    State.DECLINED: {
        Event.DECLINED: State.DECLINED,
        Event.INVITED: State.INVITED,
        Event.CANCELLED: State.CANCELLED,
    },
    State.ACCEPTED: {
        Event.ACCEPTED: State.ACCEPTED,
        Event.CONNECTED: State.CONNECTED,
        Event.ENDED: State.ENDED,
        Event.CANCELLED: State.CANCELLED,
        Event.OPINION_SIGNED: State.OPINION_SIGNED,
    },
    State.CONNECTED: {
        Event.CONNECTED: State.CONNECTED,
        Event.INTERRUPTED: State.INTERRUPTED,
        Event.ENDED: State.ENDED,
        Event.OPINION_SIGNED: State.OPINION_SIGNED,
    },
    State.INTERRUPTED: {
        Event.INTERRUPTED: State.INTERRUPTED,
        Event.CONNECTED: State.CONNECTED,
        Event.ENDED: State.ENDED,
        Event.OPINION_SIGNED: State.OPINION_SIGNED,
    },
    State.ENDED: {
        Event.ENDED: State.ENDED,
        Event.OPINION_SIGNED: State.OPINION_SIGNED,
    },
    State.OPINION_SIGNED: {
        Event.CONNECTED: State.OPINION_SIGNED,
        Event.INTERRUPTED: State.OPINION_SIGNED,
        Event.ENDED: State.OPINION_SIGNED,
        Event.OPINION_SIGNED: State.OPINION_SIGNED,
        Event.DECISION_SIGNED: State.CLOSED,
    },
    State.CANCELLED: {Event.CANCELLED: State.CANCELLED},
    State.CLOSED: {Event.DECISION_SIGNED: State.CLOSED},
}

LIVE = frozenset({State.ACCEPTED, State.CONNECTED, State.INTERRUPTED, State.OPINION_SIGNED})
"""States in which a specialist's browser may have a media session."""

OPEN = frozenset(State) - {State.CANCELLED, State.CLOSED}
"""States in which something is still to be done by somebody."""

_SPOKEN: dict[State, tuple[str, str]] = {
    State.REQUESTED: ("已发起，等待发送", "Requested"),
    State.INVITED: ("已邀请，等专家接受", "Waiting for a specialist"),
    State.ACCEPTED: ("专家已接受", "Accepted"),
    State.CONNECTED: ("会诊中", "In session"),
    State.INTERRUPTED: ("连接中断，正在恢复", "Link interrupted, coming back"),
    State.ENDED: ("已挂断，等专家签名", "Hung up, opinion due"),
    State.DECLINED: ("专家未接受", "Declined"),
    State.CANCELLED: ("已取消", "Cancelled"),
    State.OPINION_SIGNED: ("意见已签名，等村医决定", "Opinion signed, decision due"),
    State.CLOSED: ("已完成", "Closed"),
}


class WrongMoment(AskPerson):
    """The event does not fit the state: somebody was late, or two people acted at once."""

    code = "consultation_wrong_moment"


def next_state(state: State | str, event: Event | str) -> State:
    """The state after ``event``.

    :raises WrongMoment: unknown state or event, or the table has no such step; the message names what may happen
        instead, and nothing changes
    """
    try:
        now, happened = State(state), Event(event)
    except ValueError as unknown:
        raise WrongMoment(f"{unknown}: see telemedicine/consultation.py for the names") from None
    steps = TABLE[now]
    if happened not in steps:
        allowed = ", ".join(step for step in steps if steps[step] != now) or "nothing more"
        raise WrongMoment(
            f"a consultation that is {now} cannot become {happened}; possible now: {allowed}",
            state=str(now),
            event=str(happened),
        )
    return steps[happened]


def spoken(state: State | str, language: str = "zh") -> str:
    """The state's name as a person would say it, in "zh" or "en"."""
    chinese, english = _SPOKEN[State(state)]
    return english if language == "en" else chinese


def write_who(account: str, name: str, title: str = "") -> str:
    """A specialist as the journal names who took a step: "name, title (id)", for people and for the audit.

    At most 120 characters beside a long id: names and titles are cut to 24.
    """
    words = ", ".join(part.replace(",", " ").strip()[:LONGEST_NAME] for part in (name, title) if part.strip(" ,"))
    return f"{words} ({account})" if name.strip(" ,") else account


def read_who(who: str) -> tuple[str, str, str]:
    """Id, name and title out of ``write_who``; words of another form are id and name in one, without title."""
    found = _WHO.fullmatch(who)
    return (found["id"], found["name"], found["title"] or "") if found else (who, who, "")
