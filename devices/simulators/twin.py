"""A simulated device without any I/O: what it answers, and what it sends by itself as time passes."""

from __future__ import annotations

from typing import Protocol


class Twin(Protocol):
    @property
    def streaming(self) -> bool:
        """Whether it sends by itself; when that ends, what was not yet taken from the wire is lost, as in a UART."""
        ...

    def power_on(self) -> None:
        """Plugged in: forgets the conversation, keeps what a person would have left lying on it (card, finger)."""
        ...

    def receive(self, chunk: bytes) -> bytes:
        """Bytes from the host, cut anywhere -> what is answered at once."""
        ...

    def advance(self, elapsed_s: float) -> bytes:
        """What is sent by itself in the time that passed since the last call."""
        ...
