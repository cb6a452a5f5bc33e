"""What a device says of itself. Pure.

A driver of a device that says what it is has an attribute ``identity: Identity | None``: None from ``open`` until it
was said. Serial number and firmware are those of the device, never of the adapter in its cable.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from devices.driver import DriverContract

LONGEST = 80
"""Characters of one field that are kept: a device that talks nonsense fills no page."""


@dataclass(frozen=True, slots=True)
class Identity:
    """In the device's own spelling; empty where its protocol does not say it."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""

    def told(self) -> dict[str, str]:
        """What is known: printable, at most ``LONGEST`` characters each."""
        return {name: clean for name, said in asdict(self).items() if (clean := _clean(said))}


def identity_of(driver: DriverContract) -> Identity | None:
    """What the device has said of itself since ``open``; None while it has not, or when its protocol can't say it."""
    said = getattr(driver, "identity", None)
    return said if isinstance(said, Identity) and said.told() else None


def _clean(said: str) -> str:
    return "".join(letter for letter in said if letter.isprintable()).strip()[:LONGEST]
