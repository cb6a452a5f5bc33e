"""Settings of the van's media process, ``consultation.toml``. Relative paths are relative to the file's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sync.settings_file import Settings, SettingsRefused, read_settings
from telemedicine.media.capture_address import SourceKind, kind_of
from telemedicine.ultrasound.machine import MachineSettings

FeedName = Literal["room", "ultrasound"]
FEED_ORDER: tuple[FeedName, ...] = ("room", "ultrasound")
"""The order of the video lines in every offer that a page makes."""


class FeedSettings(Settings):
    """One picture source: what it is, in which size it is shown at best, and what it may take of the link.

    ``source``: a device ("/dev/video0", "0"), a file (looped), a URL (rtsp, http), or the screen of an X display
    ("screen::0"); a device is asked for this size and rate.
    """

    name: FeedName
    source: Annotated[str, Field(min_length=1)]
    width: Annotated[int, Field(ge=160, le=1920)] = 1280
    height: Annotated[int, Field(ge=120, le=1080)] = 720
    frame_rate_hz: Annotated[float, Field(ge=1, le=60)] = 30
    bit_rate_bit_s: Annotated[int, Field(ge=100_000, le=8_000_000)] = 4_000_000
    machine: MachineSettings | None = None
    """What is known of the ultrasound machine: crop, orientation, calibration, name."""

    @field_validator("width", "height")
    @classmethod
    def _even(cls, pixels: int) -> int:
        if pixels % 2:
            raise ValueError("must be even: the picture is sent as 4:2:0")
        return pixels

    @model_validator(mode="after")
    def _of_the_ultrasound(self) -> FeedSettings:
        if self.machine is not None and self.name != "ultrasound":
            raise ValueError("machine belongs to the feed named ultrasound")
        return self


class ExchangeSettings(Settings):
    """``url`` is where the van dials out to, e.g. "wss://county.example/exchange/van"."""

    url: Annotated[str, Field(pattern=r"^wss?://")]


class IdentitySettings(Settings):
    origin: Annotated[str, Field(min_length=1, max_length=80)]
    """The journal's origin, as in the vehicle's own settings."""
    key: Path
    """The vehicle's journal key; the process only reads it."""
    tpm_tcti: str = ""
    """As in the vehicle's settings, for a key that is sealed to the TPM."""
    dtls_key: Path | None = None
    """Where this process keeps the key and certificate of its connections; made when missing. None: a new one at each
    start, signed into the invitation all the same."""


class IceServer(Settings):
    urls: list[str]
    username: str = ""
    credential: str = ""


HttpUrl = Annotated[str, Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]", max_length=500)]
"""Never in the clear over a network: a token and a person's pictures go there."""


class SfuSettings(Settings):
    """A hospital's own SFU, which gets pictures and voices while a consultation is live (WHIP, RFC 9725), and may send
    a stream back (WHEP)."""

    name: Annotated[str, Field(pattern=r"^[^,;()/\s][^,;()/]{0,23}$")]
    """As people call it: it stands among those who take part, and in the journal."""
    publish: dict[FeedName, HttpUrl] = Field(default_factory=dict)
    """WHIP endpoint of each picture; the first one carries the voices too."""
    play: HttpUrl | None = None
    """WHEP endpoint: heard by everybody, seen on the touchscreen."""
    token: Path | None = None
    """File with the bearer token; None: the endpoint asks for none."""

    @model_validator(mode="after")
    def _something(self) -> SfuSettings:
        if not self.publish and self.play is None:
            raise ValueError("give publish.ultrasound, publish.room or play, the URL of a WHIP or WHEP endpoint")
        return self


class ConsultationSettings(Settings):
    socket: Path
    """Where this process answers the touchscreen's server."""
    vehicle_socket: Path
    exchange: ExchangeSettings
    identity: IdentitySettings
    feeds: Annotated[list[FeedSettings], Field(max_length=2)]
    chosen: Path | None = None
    """Where the vehicle process keeps the cameras that the crew chose (``picture-sources.json`` in its data folder):
    they go before ``source``. None: only the settings count."""
    outside: Annotated[str, Field(min_length=1)] | None = None
    """The camera that looks out of the van, addressed as a feed's ``source``: for the photo at the village sign. Never
    one of the room, where patients are."""
    ice_servers: tuple[IceServer, ...] = ()
    """Empty unless configured: a closed 5G network has none, and no foreign server is ever asked."""
    sfu: Annotated[tuple[SfuSettings, ...], Field(max_length=2)] = ()

    @field_validator("sfu")
    @classmethod
    def _named_once(cls, sfu: tuple[SfuSettings, ...]) -> tuple[SfuSettings, ...]:
        if len({one.name for one in sfu}) != len(sfu):
            raise ValueError("each SFU needs a name of its own")
        return sfu

    @model_validator(mode="after")
    def _looks_out(self) -> ConsultationSettings:
        if self.outside in [feed.source for feed in self.feeds]:
            raise ValueError("outside is the camera that looks out of the van: it cannot be the source of a feed too")
        return self

    @field_validator("feeds")
    @classmethod
    def _once(cls, feeds: list[FeedSettings]) -> list[FeedSettings]:
        if len({feed.name for feed in feeds}) != len(feeds):
            raise ValueError("each feed may be named once")
        return feeds


def load_settings(file: Path) -> ConsultationSettings:
    """The settings of ``file`` with every path made absolute.

    :raises SettingsRefused: names file, key and remedy
    """
    settings = read_settings(file, ConsultationSettings)
    folder = file.resolve().parent
    dtls_key = settings.identity.dtls_key
    located = {"key": folder / settings.identity.key, "dtls_key": None if dtls_key is None else folder / dtls_key}
    identity = settings.identity.model_copy(update=located)
    feeds = [feed.model_copy(update={"source": _located(folder, feed.source)}) for feed in settings.feeds]
    sfu = [one if one.token is None else one.model_copy(update={"token": folder / one.token}) for one in settings.sfu]
    return settings.model_copy(
        update={
            "sfu": sfu,
            "socket": folder / settings.socket,
            "vehicle_socket": folder / settings.vehicle_socket,
            "chosen": None if settings.chosen is None else folder / settings.chosen,
            "outside": None if settings.outside is None else _located(folder, settings.outside),
            "identity": identity,
            "feeds": feeds,
        }
    )


def _located(folder: Path, source: str) -> str:
    """A file beside the settings becomes an absolute path; devices, URLs and screens stay as they are."""
    if kind_of(source) != SourceKind.FILE or Path(source).is_absolute():
        return source
    file = folder / source
    if not file.exists():
        raise SettingsRefused(f"picture source {source!r}: no such file {file}; give a file, /dev/video0 or a URL")
    return str(file)
