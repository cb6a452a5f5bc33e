"""Pairing a Bluetooth device by its six digits, and forgetting one: bluetoothd asks, a person answers on the screen.

One question at a time: bluetoothd pairs one device at a time; known devices connect meanwhile. It is answered,
cancelled by a person, or given up by the agent (``devices.links.bluetooth_agent``) before the device loses patience.
What was typed is never kept.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from devices.readings import DeviceState, Stamped
from sync.formats.records import Draft
from vehicle.clinic.ports import Journal, Listenable, Live

ANSWER_WITHIN_S = 28.0
"""What the agent grants; SMP gives up after 30 s."""
LEFT_ALONE_S = 60.0
"""A device that nobody answered, or that was put off, is refused for so long without asking: while one question is open
no other device is paired, and for the first question of a device (``Pair``) bluetoothd does not scan."""
SOON_S = 120.0
"""Who asks again within it was not satisfied."""
REFUSED = "bluetooth_pairing_failed"
DIGITS = 6


class PairingOver(AskPerson):
    """The device does not wait for digits any more: it asks again when it is switched on."""

    code = "pairing_over"


class PasskeyUnusable(AskPerson):
    """Not six digits."""

    code = "passkey_unusable"


class NothingToForget(AskPerson):
    """Not a Bluetooth device, or it was never found."""

    code = "nothing_to_forget"


class Radio(Protocol):
    """``devices.links.bluetooth_hub.BluetoothHub``."""

    def forget(self, address: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Asking:
    """What the screens show."""

    device: str
    """The stable name, empty for an address of no device of ours."""
    address: str
    left_s: float
    again: bool
    """It asked a moment ago: the digits were wrong, or came too late."""


@dataclass(slots=True)
class _Question:
    address: str
    until_mono_s: float
    again: bool
    answer: asyncio.Future[int | None]


class Pairing:
    """
    :param places: device name -> Bluetooth address, of those that have one now
    :param radio: the adapter; None while there is none
    """

    def __init__(
        self,
        store: Journal,
        clock: Clock,
        live: Live,
        places: Callable[[], Mapping[str, str]],
        radio: Callable[[], Radio | None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._places = places
        self._radio = radio
        self._question: _Question | None = None
        self._asked = ""
        """The address that asked last, and when."""
        self._asked_mono_s = -math.inf
        self._refusal_told = False
        """A device goes on saying that it was refused; that is shown once for each question."""
        self._left_alone_until_s: dict[str, float] = {}
        """By address; only devices of the settings ask, so they are few."""
        self.turn = 0
        """Counts what there is to show, so that a page knows whether it shows the newest."""
        self.refused: str | None = None
        """Name of a device whose digits were typed and which refused them, until somebody has seen it."""

    def listen(self, feed: Listenable) -> None:
        feed.on("device", self._on_device, "pairing")

    async def ask(self, address: str) -> int | None:
        """The digits that the device shows, typed by a person; None: nobody wants to. Cancelled when it is over."""
        now_s = self._clock.monotonic_s()
        if now_s < self._left_alone_until_s.get(address, -math.inf):
            return None
        again = self._asked == address and now_s - self._asked_mono_s < SOON_S
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        question = _Question(address, now_s + ANSWER_WITHIN_S, again, answer)
        if self._question is not None:
            self._question.answer.cancel()
        self._refusal_told = False
        self._question, self._asked, self._asked_mono_s, self.refused = question, address, now_s, None
        self._tell()
        try:
            return await answer
        finally:
            if not answer.done() or answer.cancelled() or answer.result() is None:
                self._left_alone_until_s[address] = self._clock.monotonic_s() + LEFT_ALONE_S
                self._refusal_told = True  # nobody typed anything: that the device was refused is no news
            if self._question is question:
                self._question = None
                self._tell()

    def asking(self) -> Asking | None:
        """The open question."""
        question = self._question
        if question is None:
            return None
        left_s = max(0.0, question.until_mono_s - self._clock.monotonic_s())
        return Asking(self._name_of(question.address), question.address, left_s, question.again)

    async def answer(self, address: str, digits: str, by: str) -> None:
        """What a person read off the device.

        :raises PasskeyUnusable: not six digits; the question stays open
        :raises PairingOver: nobody asks any more
        """
        question = self._open(address)
        if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
            raise PasskeyUnusable("type the six digits that the device shows")
        await self._note("passkey_typed", address, by)
        self._settle(question, int(digits))

    async def cancel(self, address: str, by: str) -> None:
        """Not now: the device is left alone until it asks again.

        :raises PairingOver: nobody asks any more
        """
        question = self._open(address)
        await self._note("pairing_cancelled", address, by)
        self._settle(question, None)

    def seen(self) -> None:
        """Somebody has read what to do about a refusal."""
        self.refused = None
        self._tell()

    async def forget(self, device: str, by: str) -> None:
        """Drop the bond, so that the next connection pairs anew: the device was reset, or exchanged.

        :raises NothingToForget: no Bluetooth device of that name was found yet
        :raises LinkLost: Bluetooth is not available now
        """
        address, radio = self._places().get(device), self._radio()
        if not address or radio is None:
            raise NothingToForget(f"{device} is no Bluetooth device that was found: nothing to forget", device=device)
        await radio.forget(address)
        await self._store.commit(Draft("access/1", {"action": "device_forgotten", "what": f"{device} {address}"}, by))
        self._asked = ""
        self._left_alone_until_s.pop(address, None)
        self.seen()

    def _on_device(self, stamped: Stamped) -> None:
        state = stamped.event
        if not isinstance(state, DeviceState) or state.fault != REFUSED or not self._asked or self._refusal_told:
            return
        if self._question is None and stamped.device == self._name_of(self._asked):
            self.refused, self._refusal_told = stamped.device, True
            self._tell()

    def _open(self, address: str) -> _Question:
        if self._question is None or self._question.address != address or self._question.answer.done():
            raise PairingOver("the device does not wait any more: switch it on again", device=self._name_of(address))
        return self._question

    @staticmethod
    def _settle(question: _Question, passkey: int | None) -> None:
        if not question.answer.done():
            question.answer.set_result(passkey)

    async def _note(self, action: str, address: str, by: str) -> None:
        what = f"{self._name_of(address)} {address}".strip()
        await self._store.commit(Draft("access/1", {"action": action, "what": what}, by))

    def _name_of(self, address: str) -> str:
        return next((name for name, place in self._places().items() if place == address), "")

    def _tell(self) -> None:
        """Only that something changed: pages ask for the rest, so nobody's digits are on the feed."""
        self.turn += 1
        self._live.send({"type": "pairing", "turn": self.turn})
