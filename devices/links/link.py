"""What a session asks of a link: serial, Bluetooth, replay. One link object lives as long as its session.

A link is used by one task. ``disconnect`` may be called at any time, any number of times, and never raises.
"""

from __future__ import annotations

from typing import Protocol

from devices.driver import Write
from devices.errors import AskPerson, Retry


class DeviceLink(Protocol):
    async def connect(self) -> None:
        """Make one attempt; for Bluetooth: wait for the advertisement, connect, subscribe.

        :raises PortAbsent: nothing there now; the session tries again.
        :raises Retry: there, but not ready; the session tries again and shows the code as a fault.
        :raises AskPerson: a person has to act; the session shows it and tries again slowly.
        """

    async def receive(self) -> tuple[str, bytes]:
        """Wait for the next bytes: (channel, bytes); the channel is empty for serial.

        May be cancelled between chunks without losing bytes.

        :raises LinkLost: the link is gone, all bytes that came before have been handed out.
        """

    async def send(self, write: Write) -> None:
        """Send now; the session keeps ``write.after_s``.

        :raises LinkLost: the link is gone.
        """

    async def disconnect(self) -> None: ...

    @property
    def place(self) -> str:
        """Where the device is: a port path or an address; for logs."""


class PortAbsent(Retry):
    """The port or advertisement is not there: the device is unplugged or switched off. No fault."""

    code = "port_absent"


class PortBusy(Retry):
    code = "port_busy"


class PortRefused(AskPerson):
    """No permission, or not a serial port."""

    code = "port_refused"
