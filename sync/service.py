"""What every long-running process of the project owes the service manager: readiness, heartbeats, one log format.

``notify`` is sd_notify(3) in a few lines, so that no process needs libsystemd. Without NOTIFY_SOCKET (a terminal, a
container, the demo) it does nothing. The log is one JSON object per line on stderr; stdout stays empty.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from devices.clock import Clock

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_QUIET_LOGGERS = (
    "uvicorn",
    "uvicorn.access",
    "httpx",
    "httpcore",
    "aiortc",
    "aioice",
    "bleak",
    "zeroconf",
    "websockets",
)


def notify(state: str, environment: Mapping[str, str] | None = None) -> bool:
    """Tell the service manager ``state`` (sd_notify(3): "READY=1", "STATUS=...", several lines allowed).

    :returns: True when a manager listens and the datagram was handed over. A manager that went away, or that reads
        nothing, is no reason to stop the service or to wait, so no error is raised.
    """
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":  # abstract socket name
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
            link.setblocking(False)
            link.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def watchdog_interval_s(environment: Mapping[str, str] | None = None) -> float | None:
    """Half of WATCHDOG_USEC in seconds, as sd_watchdog_enabled(3) advises; None when no watchdog is asked for."""
    variables = os.environ if environment is None else environment
    text = variables.get("WATCHDOG_USEC", "")
    if not text.isdigit() or int(text) == 0:
        return None
    if (variables.get("WATCHDOG_PID") or str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 2_000_000


def collect_rarely() -> None:
    """Have the garbage collector pass over what is there now, and look at new objects less often.

    A county's month table makes some 10^5 objects that live; looking for cycles among them again and again took a third
    of its time (``benchmarks/bench_county.py``). Call it once, when the process has what it will keep.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def beat(alive: Callable[[], bool], clock: Clock) -> None:
    """Send WATCHDOG while ``alive()`` says so, for ever; return at once where no watchdog is asked for.

    A process whose event loop hangs, or whose ``alive`` is False for a whole interval, is restarted by the manager.
    """
    interval_s = watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        if alive():
            notify(WATCHDOG)
        await clock.sleep(interval_s)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` in the running loop on SIGTERM and SIGINT, once each; announces STOPPING first."""
    loop = asyncio.get_running_loop()

    def stopping() -> None:
        notify(STOPPING)
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping)


class JsonLines(logging.Formatter):
    """One JSON object per record: at, level, logger, then either an event's own fields or ``message``."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "at": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
        }
        text = record.getMessage()
        line.update(_event_fields(text) if record.name == "xunzhen" else {"logger": record.name, "message": text})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _event_fields(text: str) -> dict[str, object]:
    """The fields of a line made by ``devices.events.emit``."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {"message": text}


def log_to_stderr(service: str, level: int = logging.INFO) -> None:
    """Make JSON lines on stderr the one log of this process, named ``service`` in each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET_LOGGERS:  # requests and radio chatter are not events of ours; their warnings are kept
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(max(level, logging.WARNING))
