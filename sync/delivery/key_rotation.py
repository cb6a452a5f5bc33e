"""Tells the county of a changed key before anything that the new key signed, and signs requests by the right one.

A county that was set back to a backup has forgotten a change: its 401 is answered with the changes that it once took.

``RotatingClient`` is the ``CountyClient`` of a van whose keys may change: nothing else needs to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from devices.clock import Clock
from sync.delivery.connections import Connections
from sync.delivery.county_client import Answer, Conflict, CountyClient, RecordRefused
from sync.formats import wire
from sync.formats.notes import VerifierKey
from sync.keys.journal_keys import JournalKeys
from sync.keys.key_statements import ROTATE_KEY


class RotatingClient(CountyClient):
    """
    :param keys: signs every request with the key that the county knows
    """

    def __init__(
        self,
        url: str,
        key: VerifierKey | str,
        keys: JournalKeys,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_s: float = 30.0,
        connections: Connections | None = None,
    ) -> None:
        super().__init__(url, key, keys, clock, transport, timeout_s, connections)
        self._keys = keys
        self._announcing = asyncio.Lock()

    async def add_checkpoint(self, asked: wire.AddCheckpoint) -> Conflict | None:
        await self.announce_key()
        return await super().add_checkpoint(asked)

    async def announce_key(self) -> None:
        """Have the county take the change of key that waits, if there is one.

        :raises CountyUnreachable: try again later. :raises RecordRefused: the county does not take it; park.
        """
        async with self._announcing:
            change = self._keys.waiting
            if change is None:
                return
            try:
                await self.rotate_key(bytes(change))
            except RecordRefused:
                if not await self._taken_again():
                    raise
                await self.rotate_key(bytes(change))
            await asyncio.to_thread(self._keys.take_over, change)

    async def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], bulk: bool = False
    ) -> Answer:
        """As of ``CountyClient``; a 401 because the county knows the new key already, or no longer, is settled and the
        request sent again.
        """
        signed_by = self._keys.verifier_key()
        answer = await super()._send(method, path, body, headers, bulk)
        if answer.status != 401 or path.endswith(ROTATE_KEY):
            return answer
        await self.announce_key()
        if self._keys.verifier_key() == signed_by and not await self._tell_again():
            return answer
        return await super()._send(method, path, body, headers, bulk)

    async def _tell_again(self) -> bool:
        async with self._announcing:
            return await self._taken_again()

    async def _taken_again(self) -> bool:
        """Whether the county has heard again of every change that it once took, if there are any.

        :raises CountyUnreachable: try again later
        """
        try:
            for change in self._keys.taken:
                await self.rotate_key(bytes(change))
        except RecordRefused:
            return False
        return bool(self._keys.taken)
