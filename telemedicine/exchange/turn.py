"""Who may use the county's TURN servers: names with a time after which they are worth nothing.

The convention of draft-uberti-behave-turn-rest-00, which coturn knows as ``use-auth-secret``: the name is
"<Unix time of expiry>:<who>", the password is base64(HMAC-SHA1(shared secret, name)). So the relay knows nobody and
asks nobody; a name that leaks is of use until its time, and counts against the quota of who let it leak. What was
allocated before that time lives on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from devices.clock import Clock
from devices.errors import AskPerson
from sync.county.settings import TurnSettings
from telemedicine.wire import Relay, Relays

SHORTEST_SECRET_CHARACTERS = 32


class Link(Protocol):
    def send(self, text: str) -> None: ...


class TurnSecretRefused(AskPerson):
    """The secret that the relay and the exchange share cannot be used."""

    code = "turn_secret_refused"


class TurnCredentials:
    def __init__(self, urls: Sequence[str], secret: str, valid_s: float, clock: Clock) -> None:
        """
        :param urls: "turn:host:port?transport=udp", in the order in which vans are to prefer them
        :param secret: ``static-auth-secret`` of the relay
        """
        self._urls = list(urls)
        self._secret = secret.encode()
        self._valid_s = valid_s
        self._clock = clock

    def issue(self, who: str) -> Relays:
        """Fresh credentials for ``who``: a specialist's account or a vehicle's origin, whom the caller has checked."""
        expires_at = self._clock.now() + timedelta(seconds=self._valid_s)
        username = f"{int(expires_at.timestamp())}:{who}"
        password = base64.b64encode(hmac.new(self._secret, username.encode(), hashlib.sha1).digest()).decode()
        relay = Relay(urls=self._urls, username=username, credential=password)
        return Relays(relays=[relay], expires_at=expires_at.isoformat())

    async def keep(self, who: str, link: Link) -> None:
        """Give ``link`` new ones at half time, for ever: the caller has given the first and ends this with the link."""
        while True:
            await self._clock.sleep(self._valid_s / 2)
            link.send(self.issue(who).text())


def turn_credentials(settings: TurnSettings | None, clock: Clock) -> TurnCredentials | None:
    """None when the county has no relay.

    :raises TurnSecretRefused: the secret's file is not there or too short
    """
    if settings is None:
        return None
    return TurnCredentials(settings.urls, _secret(settings.secret_file), settings.valid_s, clock)


def _secret(file: Path) -> str:
    remedy = "make one with `openssl rand -hex 32` and write the same into static-auth-secret of turnserver.conf"
    try:
        secret = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise TurnSecretRefused(f"{file}: the relay's secret cannot be read ({fault}); {remedy}") from None
    if len(secret) < SHORTEST_SECRET_CHARACTERS:
        short = f"the relay's secret has less than {SHORTEST_SECRET_CHARACTERS} characters"
        raise TurnSecretRefused(f"{file}: {short}; {remedy}")
    return secret
