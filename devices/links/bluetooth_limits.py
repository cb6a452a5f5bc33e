"""How long the Bluetooth link waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times of the Bluetooth link, in seconds."""

    connect_s: float = 10.0
    pair_s: float = 30.0
    call_s: float = 10.0
    idle_s: float = 30.0
    """A device that says nothing for so long is let go; it advertises again when it has something."""
    settle_s: float = 0.5
    """After a connection ended, property changes of the device look like advertisements for a moment."""
    deaf_s: float = 90.0
    retry_first_s: float = 0.25
    retry_most_s: float = 4.0
    unavailable_most_s: float = 5.0
