"""Whether a GNSS receiver's fix stands: told when it comes or goes, withdrawn with the receiver. Pure."""

from __future__ import annotations

from devices.readings import DeviceState, Event, Link, Position, Sensor

HDOP_ACCURACY_M = 5.0
"""One sigma of a receiver's own range error: accuracy is HDOP times this where the receiver says none itself."""
NO_FIX = Position(None, None, None, 0)


class FixState:
    """:ivar told: what was told last; None: nothing since the beginning"""

    def __init__(self) -> None:
        self.told: Sensor | None = None

    def tell(self, sensor: Sensor, events: list[Event]) -> None:
        if sensor != self.told:
            self.told = sensor
            events.append(DeviceState(Link.CONNECTED, sensor))

    def withdraw(self, events: list[Event], searching: bool = False) -> None:
        """A fix that stands is one no more.

        :param searching: the receiver is there and looks for satellites; else it is gone.
        """
        if self.told != Sensor.OK:
            return
        if searching:
            self.tell(Sensor.SEARCHING, events)
        else:
            self.told = None
        events.append(NO_FIX)
