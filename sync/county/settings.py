"""Settings of the county server (``county.toml``)."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from sync.county.forwarded import Network
from sync.formats.notes import ED25519_COSIGNATURE, NoteRefused, VerifierKey
from sync.formats.relay_address import TURN_URL
from sync.settings_file import HostAddress, Settings, read_settings


class WitnessAddress(Settings):
    """The province's witness (``sync/witness``).

    :ivar key: the line that ``python -m sync.witness --settings witness.toml show-key`` prints at the province
    """

    url: str = Field(pattern=r"^https?://[^/\s]+(/.*)?$")
    key: str

    @field_validator("key")
    @classmethod
    def _is_cosigner(cls, line: str) -> str:
        try:
            key = VerifierKey.typed(line)
        except NoteRefused as fault:
            raise ValueError(f"{fault}: copy the whole line that the witness shows") from None
        if key.algorithm != ED25519_COSIGNATURE:
            raise ValueError(f"the key of {key.name} is not a witness's key")
        return line

    @property
    def verifier_key(self) -> VerifierKey:
        return VerifierKey.typed(self.key)


class Sm2Settings(Settings):
    """:ivar key_file: PEM of an SM2 key (``sm2.py``)"""

    key_file: Path


class TurnSettings(Settings):
    """The county's own relay (coturn) for consultations that have no direct way.

    :ivar urls: as vans and browsers reach it, the preferred first, e.g. "turn:turn.county.example:3478?transport=udp"
    :ivar secret_file: one line, ``static-auth-secret`` of turnserver.conf
    :ivar valid_s: how long a name and password may be used to begin; they are renewed at half time
    """

    urls: tuple[Annotated[str, Field(pattern=TURN_URL)], ...] = Field(min_length=1, max_length=10)
    secret_file: Path
    valid_s: float = Field(default=3600, ge=60, le=86_400)


class ServeSettings(Settings):
    """:ivar trusted_proxies: addresses or networks of reverse proxies, which say in ``X-Forwarded-For`` who calls"""

    trusted_proxies: tuple[str, ...] = ()

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            try:
                ip_network(text)
            except ValueError as fault:
                raise ValueError(
                    f"{fault}: write an address such as 127.0.0.1, or a network such as 10.0.0.0/8"
                ) from None
        return given

    @property
    def proxies(self) -> tuple[Network, ...]:
        return tuple(map(ip_network, self.trusted_proxies))


class CountySettings(Settings):
    """:ivar data: folder of database, recordings and keys; relative paths belong to the settings file's folder.
    :ivar origin: name under which the county cosigns, e.g. "county.qingxi.example"
    :ivar database: SQLAlchemy URL; empty means SQLite inside ``data``
    :ivar recordings: folder, or "s3://bucket/prefix?endpoint=https://..." (``object_store.py``); empty means
        ``data/recordings``
    :ivar session_secret_file: empty means ``data/keys/session.secret``, made on first start
    :ivar witness: the province's; without it the county's records are vouched for by the county alone
    :ivar sm2: also sign checkpoints by SM2 with SM3
    :ivar turn: the county's relay; without it no relay is ever asked
    :ivar probe_port: UDP port against which vehicles probe their link (``link_probe.py``); 0: none
    :ivar probe_host: address on which it listens; vans reach it under the host name of the county's URL, without proxy
    :ivar secure_cookies: False only on loopback without TLS
    :ivar serve: what stands between the county and its callers
    """

    name: str = Field(min_length=1, max_length=40)
    data: Path
    origin: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")
    host: HostAddress = "127.0.0.1"
    port: int = Field(default=8500, ge=0, le=65535)
    language: str = Field(default="zh", pattern="^(zh|en)$")
    database: str = ""
    recordings: str = ""
    session_secret_file: Path | None = None
    secure_cookies: bool = False
    probe_port: int = Field(default=0, ge=0, le=65535)
    probe_host: HostAddress = "0.0.0.0"
    largest_recording_bytes: int = Field(default=2 * 1024**3, ge=1024)
    witness: WitnessAddress | None = None
    sm2: Sm2Settings | None = None
    turn: TurnSettings | None = None
    serve: ServeSettings = ServeSettings()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'county.db'}"

    @property
    def recordings_folder(self) -> Path | None:
        """None when recordings go to an object store."""
        if self.recordings.startswith("s3:"):
            return None
        return Path(self.recordings) if self.recordings else self.data / "recordings"

    @property
    def key_file(self) -> Path:
        return self.data / "keys" / "county.key"

    @property
    def registry_key_file(self) -> Path:
        return self.data / "keys" / "registry.key"

    @property
    def secret_file(self) -> Path:
        return self.session_secret_file or self.data / "keys" / "session.secret"


def read_county_settings(path: Path) -> CountySettings:
    """Read ``path``; relative paths inside it are taken from its folder.

    :raises sync.settings_file.SettingsRefused: with file, key and remedy
    """
    settings = read_settings(path, CountySettings)
    folder = path.resolve().parent
    placed: dict[str, object] = {"data": folder / settings.data}
    if settings.sm2 is not None:
        placed["sm2"] = settings.sm2.model_copy(update={"key_file": folder / settings.sm2.key_file})
    if settings.turn is not None:
        placed["turn"] = settings.turn.model_copy(update={"secret_file": folder / settings.turn.secret_file})
    if settings.recordings and settings.recordings_folder is not None:
        placed["recordings"] = str(folder / settings.recordings)
    if settings.session_secret_file is not None:
        placed["session_secret_file"] = folder / settings.session_secret_file
    return settings.model_copy(update=placed)
