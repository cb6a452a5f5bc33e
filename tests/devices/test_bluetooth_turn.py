"""One device connects at a time; while a person looks for one's digits the others do."""

from __future__ import annotations

import asyncio

import pytest

from devices.links import bluetooth_turn
from devices.links.bluetooth_turn import ConnectTurn


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def attempt(turn: ConnectTurn, holder: str, went: list[str], until: asyncio.Event | None = None) -> None:
    async with turn.of(holder):
        went.append(f"{holder} begins")
        if until is not None:
            await until.wait()
        went.append(f"{holder} ends")


async def asking(turn: ConnectTurn, holder: str, went: list[str], typed: asyncio.Event) -> None:
    async with turn.of(holder):
        async with turn.question(holder):
            await typed.wait()
        went.append(f"{holder} goes on")
        await settled()
        went.append(f"{holder} ends")


async def test_one_after_the_other_in_the_order_of_coming() -> None:
    turn, went = ConnectTurn(), []
    await asyncio.gather(*(attempt(turn, holder, went) for holder in "abc"))
    assert went == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_others_have_the_turn_of_one_that_waits_for_its_digits_and_nobody_once_it_goes_on() -> None:
    turn, went, typed = ConnectTurn(), [], asyncio.Event()
    waiting = asyncio.create_task(asking(turn, "meter", went, typed))
    await settled()
    await attempt(turn, "cuff", went)
    typed.set()
    await asyncio.gather(waiting, attempt(turn, "late", went))
    assert went == ["cuff begins", "cuff ends", "meter goes on", "meter ends", "late begins", "late ends"]


async def test_the_answer_waits_for_a_connection_that_is_being_made() -> None:
    turn, went, typed, connected = ConnectTurn(), [], asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(asking(turn, "meter", went, typed))
    await settled()
    other = asyncio.create_task(attempt(turn, "cuff", went, until=connected))
    await settled()
    typed.set()
    await settled()
    assert went == ["cuff begins"]
    connected.set()
    await asyncio.gather(waiting, other)
    assert went == ["cuff begins", "cuff ends", "meter goes on", "meter ends"]


async def test_but_it_does_not_wait_for_ever_and_the_turns_are_right_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bluetooth_turn, "TAKE_BACK_WITHIN_S", 0.01)
    turn, went, typed, connected = ConnectTurn(), [], asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(asking(turn, "meter", went, typed))
    await settled()
    other = asyncio.create_task(attempt(turn, "cuff", went, until=connected))
    await settled()
    typed.set()
    await waiting
    assert went == ["cuff begins", "meter goes on", "meter ends"]
    connected.set()
    await other
    await attempt(turn, "next", went)
    assert went[-2:] == ["next begins", "next ends"]


async def test_an_attempt_that_is_given_up_while_its_turn_is_lent_leaves_it_to_the_others() -> None:
    turn, went, typed = ConnectTurn(), [], asyncio.Event()
    waiting = asyncio.create_task(asking(turn, "meter", went, typed))
    await settled()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await attempt(turn, "cuff", went)
    assert went == ["cuff begins", "cuff ends"]


async def test_a_question_outside_any_attempt_lends_nothing_and_is_known() -> None:
    turn, typed = ConnectTurn(), asyncio.Event()

    async def question() -> None:
        async with turn.question("meter"):
            await typed.wait()

    asked = asyncio.create_task(question())
    await settled()
    unknown = asyncio.create_task(turn.no_question())
    await attempt(turn, "cuff", [])
    assert not unknown.done()
    typed.set()
    await asyncio.gather(asked, unknown)
