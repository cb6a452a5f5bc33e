"""``python -m telemedicine --settings consultation.toml``: the van's media process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from devices.clock import Clock, SystemClock
from devices.errors import AskPerson
from devices.events import emit
from sync.data_folder import usable_folder
from sync.keys.tpm import Tpm
from sync.keys.vehicle_key import FollowedKey
from sync.record.secret_file import KeyMissing
from sync.service import READY, beat, log_to_stderr, notify, stop_on_signals
from sync.settings_file import SettingsRefused
from telemedicine.chosen_cameras import chosen_in, until_others_are_chosen, with_cameras
from telemedicine.feeds import NO_H264_ENCODER
from telemedicine.legs import KIOSK
from telemedicine.local_app import create_local_app
from telemedicine.media.h264 import KNOWN, first_that_works
from telemedicine.settings import ConsultationSettings, IdentitySettings, load_settings
from telemedicine.transport import aiortc_patches
from telemedicine.transport.certificate import kept_certificate
from telemedicine.van import Van

SERVICE = "consultation"
SOCKET_MODE = 0o660
KEY_WITHIN_S = 30.0
SWITCH_INTERVAL_S = 0.0005
"""How long one thread may hold the interpreter while others wait. Every picture passes from its reader to its encoder
to the event loop; with Python's 5 ms each passing may cost that much on a busy computer."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals belong to the process, which has more to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(arguments: list[str] | None = None) -> int:
    """0 after SIGTERM or SIGINT, 2 when the settings or the key are refused.

    For other cameras the program takes its own place: to the service manager that is no restart, of which there are
    only three in ten minutes.
    """
    parser = argparse.ArgumentParser(prog="python -m telemedicine", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="consultation.toml")
    options = parser.parse_args(arguments)
    log_to_stderr(SERVICE)
    threading.excepthook = thread_died
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    aiortc_patches.apply()
    try:
        if asyncio.run(serve(load_settings(options.settings))):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return 0
    except AskPerson as refusal:
        emit("service_refused", service=SERVICE, code=refusal.code, reason=str(refusal))
        return 2


def thread_died(died: threading.ExceptHookArgs) -> None:
    """What a thread ends with that nobody has caught goes into the log like everything else."""
    thread = died.thread.name if died.thread is not None else "unknown"
    reason = f"{died.exc_type.__name__}: {died.exc_value}"
    emit("media_thread_died", logging.ERROR, thread=thread, reason=reason)


async def serve(settings: ConsultationSettings) -> bool:
    """Run the van's side and its socket until SIGTERM; whether it ended because the crew chose other cameras.

    :raises KeyMissing: the vehicle process has not made its key within ``KEY_WITHIN_S``, or it is of another vehicle
    """
    clock = SystemClock()
    began_s = clock.monotonic_s()
    chosen = chosen_in(settings.chosen)
    settings = with_cameras(settings, chosen)
    key = await _vehicle_key(settings.identity, clock)
    h264 = await asyncio.to_thread(first_that_works)
    if h264 is None:
        emit(NO_H264_ENCODER, level=logging.WARNING, tried=[encoder.name for encoder in KNOWN])
    else:
        emit("h264_encoder_chosen", encoder=h264.name)
    dtls_key = settings.identity.dtls_key
    certificate = None if dtls_key is None else kept_certificate(dtls_key, clock.now())
    van = Van(settings, key, clock, random.random, h264, certificate)
    app = create_local_app(van, os.urandom(32).hex())
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=2))
    listener = listen(settings.socket)
    stopping = asyncio.Event()
    stop_on_signals(stopping.set)
    work = [
        asyncio.create_task(van.run()),
        asyncio.create_task(server.serve([listener])),
        asyncio.create_task(beat(lambda: True, clock)),
    ]
    stopped = asyncio.create_task(stopping.wait())
    others = asyncio.create_task(
        until_others_are_chosen(settings.chosen, chosen, lambda: bool({*van.status()["viewers"]} - {KIOSK}), clock)
    )
    emit("service_started", service=SERVICE, seconds=round(clock.monotonic_s() - began_s, 3))
    notify(READY)
    try:
        await asyncio.wait([work[0], work[1], stopped, others], return_when=asyncio.FIRST_COMPLETED)
        emit("service_stopping", service=SERVICE)
        return others.done() and not stopped.done()
    finally:
        server.should_exit = True
        work[0].cancel()
        work[2].cancel()
        stopped.cancel()
        others.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work[0]  # raises what ended it, if that was not us: the service manager starts us again
        await work[1]
        settings.socket.unlink(missing_ok=True)


async def _vehicle_key(identity: IdentitySettings, clock: Clock) -> FollowedKey:
    """The vehicle process makes the key on its first start, perhaps at this very moment."""
    until_s = clock.monotonic_s() + KEY_WITHIN_S
    while not identity.key.exists():
        if clock.monotonic_s() > until_s:
            raise KeyMissing(f"{identity.key}: no key yet; start the vehicle process first, it makes one")
        await clock.sleep(0.2)
    return FollowedKey(identity.key, identity.origin, Tpm(identity.tpm_tcti))


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``, in place of one that a killed process left behind.

    :raises FolderRefused, SettingsRefused: there can be none
    """
    usable_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
    except OSError as fault:
        listener.close()
        raise SettingsRefused(f"{path} cannot be listened at ({fault}): set another, shorter socket") from None
    path.chmod(SOCKET_MODE)
    listener.listen(64)
    return listener


if __name__ == "__main__":
    raise SystemExit(main())
