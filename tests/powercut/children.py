"""Forked processes that speak line by line through a pipe and are killed at any moment, at the latest with their
parent; their imports are already paid."""

from __future__ import annotations

import os
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from tests.powercut.mounts import die_with

Say = Callable[[str], None]
"""Say whole lines; from any thread."""
_MOST_LAST_WORDS = 600


class Child:
    """Runs ``work`` in a fork of this process, which must have one thread only. Ends when ``work`` returns."""

    def __init__(self, work: Callable[[Say], None]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        self._ear, mouth = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(work, mouth, parent)
        os.close(mouth)

    def _live(self, work: Callable[[Say], None], mouth: int, parent: int) -> NoReturn:
        try:
            die_with(parent)
            os.close(self._ear)
            os.dup2(self._errors.fileno(), 2)
            work(lambda lines: _say(mouth, lines))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)

    def listen(self, seconds: float) -> tuple[bytes, bool]:
        """What is said in this time; and whether the child has ended."""
        said = b""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if not select.select([self._ear], [], [], left_s)[0]:
                break
            part = os.read(self._ear, 1 << 16)
            if not part:
                return said, True
            said += part
        return said, False

    def listen_until(self, word: str, longest_s: float) -> bytes:
        """What is said up to a line that begins with ``word``, and whatever came with it.

        :raises ChildEnded: it ended, or did not say the word in time
        """
        said = b""
        begin = word.encode()
        until_s = time.monotonic() + longest_s
        while not (said.startswith(begin) or b"\n" + begin in said):
            left_s = until_s - time.monotonic()
            heard = left_s > 0 and select.select([self._ear], [], [], left_s)[0]
            part = os.read(self._ear, 1 << 16) if heard else b""
            if not part:
                self.kill()
                raise ChildEnded(f"no {word!r} from the child: {self.last_words()}")
            said += part
        return said

    def drain(self) -> bytes:
        """What has been said up to now."""
        said = b""
        while select.select([self._ear], [], [], 0)[0] and (part := os.read(self._ear, 1 << 16)):
            said += part
        return said

    def kill(self) -> bytes:
        """kill -9, and wait until it is gone with all its open files; what it still said."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        said = self.drain()
        os.close(self._ear)
        return said

    def last_words(self) -> str:
        """The end of what it wrote as errors."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-_MOST_LAST_WORDS:]


class ChildEnded(Exception):
    pass


def _say(mouth: int, lines: str) -> None:
    """A pipe takes up to PIPE_BUF bytes in one piece, so that threads do not speak into each other's lines."""
    data = lines.encode()
    while data:
        end = len(data)
        if end > select.PIPE_BUF:
            end = data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
        try:
            os.write(mouth, data[:end])
        except BrokenPipeError:  # nobody is left to hear it
            os._exit(1)
        data = data[end:]
