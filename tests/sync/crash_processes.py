"""The two processes of ``crash_loop``: a county behind uvicorn, and the van's uploader that speaks to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from devices.clock import SystemClock
from sync.county.app import create_county, open_county
from sync.county.settings import CountySettings
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats.notes import VerifierKey
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.powercut.children import Say
from tests.powercut.promises import READY
from tests.powercut.writer import MakeUploader, open_recordings, open_store, signer
from tests.sync.conftest import ORIGIN

DELIVERED = "all-delivered"


def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def found_county(settings: CountySettings, say: Say) -> None:
    """Make the county's folder, enrol the van, and say the key that receipts verify under."""
    county = open_county(settings)
    county.fleet.enrol(ORIGIN, str(signer().verifier_key()), "van-07")
    say(f"{county.verifier_key}\n")
    county.close()


def serve_county(settings: CountySettings, say: Say) -> None:
    """Serve until killed."""
    app = create_county(settings)
    config = uvicorn.Config(app, settings.host, settings.port, log_level="error")
    _Server(config, lambda: say(f"{READY}\n")).run()


def read_all(settings: CountySettings, say: Say) -> None:
    """Have the county read what it stored and did not come to read before it was killed."""
    county = open_county(settings)
    county.interpreter.catch_up_all()
    county.close()


def uploader_to(settings: CountySettings, county_key: VerifierKey) -> MakeUploader:
    def make(store: Store, recordings: Recordings) -> Uploader:
        clock = SystemClock()
        client = CountyClient(f"http://{settings.host}:{settings.port}", county_key, signer(), clock)
        return Uploader(store, recordings, client, clock)

    return make


def deliver_the_rest(folder: Path, make_uploader: MakeUploader, say: Say) -> None:
    """Deliver all that the van has, and say so."""

    async def deliver() -> None:
        uploader = make_uploader(open_store(folder), open_recordings(folder))
        while not (await uploader.deliver_now()).complete:
            pass

    asyncio.run(deliver())
    say(f"{DELIVERED}\n")


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()
