"""What a session asks of a link: open, receive, write, close. From above, serial and Bluetooth look the same.

A link belongs to one device and is opened again and again for as long as the session runs. It holds no policy: when to
try again after ``LinkLost`` and what a driver wants said is the session's business.
"""

from __future__ import annotations

from typing import Protocol

from devices.driver import Line, Write
from devices.errors import LinkLost


class SessionEnded(LinkLost):
    """The device hung up in good order, as meters do after a measurement: no fault, nothing to log as lost."""

    code = "session_ended"


class DeviceLink(Protocol):
    @property
    def place(self) -> str:
        """Where the device was found: port path or Bluetooth address; empty while it never was."""
        ...

    @property
    def fault(self) -> str | None:
        """Why ``open`` is still waiting, as an error code ("bluetooth_off"); None: the device just is not there."""
        ...

    async def open(self, line: Line | tuple[Line, ...]) -> None:
        """Return once the device is there and, for GATT, subscribed.

        A link takes of ``line`` what it can speak; TypeError when there is nothing: the settings name a wrong link.
        May wait without limit for a device that is away (Bluetooth: for its advertisement); safe to cancel at any time.

        :raises LinkLost: the device cannot be opened now; try again later.
        """
        ...

    async def receive(self) -> tuple[str, bytes]:
        """The next (channel, bytes); channel is "" for serial, for GATT the characteristic as the driver names it.

        Everything that arrived before the end is handed out before the end is told. One reader at a time; safe to
        cancel without losing bytes.

        :raises SessionEnded: the device hung up by itself.
        :raises LinkLost: unplugged, out of range, adapter or bus gone.
        """
        ...

    async def write(self, write: Write) -> None:
        """Send ``write.payload`` at once; waiting ``write.after_s`` is the session's part.

        :raises LinkLost: the device is gone or refuses.
        """
        ...

    async def close(self) -> None:
        """Give everything back (port, lock, connection). Never raises; may be called in any state, more than once."""
        ...
