"""Simulated devices by the driver that reads them: those that stand alone on a port."""

from __future__ import annotations

from collections.abc import Callable

from devices.capture import Capture
from devices.clock import Clock
from devices.errors import AskPerson
from devices.simulators.at_modem import FibocomTwin, QuectelTwin
from devices.simulators.berry_bci import BerryTwin
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.contec_cms50_legacy import Cms50LegacyTwin
from devices.simulators.creative_pc80b import Pc80bTwin
from devices.simulators.ecg_source import ecg_source
from devices.simulators.gnss import GnssTwin
from devices.simulators.gpsd_gnss import GpsdTwin
from devices.simulators.healthypi import HealthyPi5Twin, HealthyPiTwin
from devices.simulators.openbci_cyton import CytonTwin
from devices.simulators.sam_card import SamCardTwin
from devices.simulators.twin import Twin

SOMEWHERE = (32.36, 106.82)


class NoTwin(AskPerson):
    code = "no_twin"


def _cms50(clock: Clock) -> Twin:
    twin = Cms50Twin()
    twin.put_finger(Finger())
    return twin


SHELF: dict[str, Callable[[Clock], Twin]] = {
    "berry_bci": lambda clock: BerryTwin(),
    "contec_8000g": lambda clock: ContecEcgTwin(ecg_source(None)),
    "contec_cms50_legacy": lambda clock: Cms50LegacyTwin(),
    "contec_cms50_v7": _cms50,
    "creative_pc80b": lambda clock: Pc80bTwin(ecg_source(None)),
    "fibocom_5g": lambda clock: FibocomTwin(),
    "gpsd_gnss": lambda clock: GpsdTwin(clock, GnssTwin(clock, *SOMEWHERE)),
    "healthypi_v4": lambda clock: HealthyPiTwin(ecg_source(None)),
    "healthypi_v5": lambda clock: HealthyPi5Twin(ecg_source(None)),
    "nmea_gnss": lambda clock: GnssTwin(clock, *SOMEWHERE),
    "openbci_cyton": lambda clock: CytonTwin(ecg_source(None)),
    "quectel_5g": lambda clock: QuectelTwin(),
    "sam_id_card": lambda clock: SamCardTwin(),
}


def twin_of(driver: str, clock: Clock) -> Twin:
    """:raises NoTwin: with those that there are."""
    try:
        return SHELF[driver](clock)
    except KeyError:
        known = ", ".join(SHELF)
        raise NoTwin(f"no simulated {driver!r} on a port: play a capture of it, or take one of {known}") from None


class CaptureTwin:
    """A capture as a device: says what was recorded, at the recorded pace, over and over; hears nothing."""

    def __init__(self, capture: Capture) -> None:
        """:raises NoTwin: nothing in it came over a serial line."""
        self._said = [(step.t, chunk) for step in capture.steps if (chunk := step.received) is not None]
        if not self._said or any(step.channel for step in capture.steps):
            raise NoTwin("only captures of serial and TCP devices can be played on a port; see `replay`")
        self._now_s = 0.0
        self._next = 0

    @property
    def streaming(self) -> bool:
        return True

    def power_on(self) -> None:
        self._now_s, self._next = 0.0, 0

    def receive(self, chunk: bytes) -> bytes:
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        self._now_s += elapsed_s
        sent = b""
        while self._next < len(self._said) and self._said[self._next][0] <= self._now_s:
            sent += self._said[self._next][1]
            self._next += 1
        if self._next == len(self._said):
            self.power_on()
        return sent
