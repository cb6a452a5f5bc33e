"""All of the ultrasound in the media process, put together: the picture, freeze and clips, stills to the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel

from devices.clock import Clock
from telemedicine.media.captures import Wish
from telemedicine.media.h264 import H264
from telemedicine.media.sources import Source
from telemedicine.settings import ConsultationSettings
from telemedicine.ultrasound.bridge import UltrasoundBridge
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.picture import SharedPicture
from telemedicine.ultrasound.still_channel import StillChannels
from telemedicine.ultrasound.vehicle_record import VehicleRecord
from telemedicine.vehicle_client import VehicleClient
from telemedicine.wire import Case

UNNAMED = MachineSettings(name="ultrasound")
"""A machine that the settings say nothing about: shown whole, without calibration."""


class UltrasoundOnBoard:
    """
    :param case: the open consultation, None when there is none
    :param withheld: somebody else is being served
    :param bit_rate: what the link to the pages carries, bit/s; None when it is not known
    """

    def __init__(
        self,
        settings: ConsultationSettings,
        h264: H264 | None,
        vehicle: VehicleClient,
        clock: Clock,
        case: Callable[[], Case | None],
        withheld: Callable[[], bool],
        bit_rate: Callable[[], int | None],
    ) -> None:
        self._case = case
        self._withheld = withheld
        record = VehicleRecord(vehicle)
        self.picture: SharedPicture | None = None
        self.bridge: UltrasoundBridge | None = None
        for feed in settings.feeds:
            if feed.name == "ultrasound":
                machine = feed.machine or UNNAMED
                wish = Wish(*(machine.source_size or (feed.width, feed.height)), feed.frame_rate_hz)
                self.picture = SharedPicture(Source(feed.name, feed.source, clock, wish), machine)
                self.bridge = UltrasoundBridge(
                    self.picture, record, feed.frame_rate_hz, h264, clock, self._consultation
                )
        self.stills = StillChannels(record, self.bridge, self._encounter, bit_rate, clock)

    async def run(self) -> None:
        """Until cancelled."""
        if self.bridge is not None:
            await self.bridge.run()

    def told(self, message: dict[str, Any]) -> None:
        """A message of the vehicle's live feed; {} says that the vehicle is back."""
        if not message and self.bridge is not None:
            self.bridge.tell_again()
        if message.get("type") in ("capture", "image_measurement"):
            self.stills.changed(message.get("encounter"))

    def prepared(self, feed: str) -> SharedPicture | None:
        """The pictures of ``feed`` as they are shown; None for a feed that nothing is done to."""
        return self.picture if feed == "ultrasound" else None

    def attach(self, channel: RTCDataChannel, who: str, may_ask: bool = True) -> None:
        """A page's channel for stills.

        :param who: looks at it, in words; empty: the touchscreen, which has its own way to them
        :param may_ask: freezes and measures; False: only looks
        """
        if who:
            self.stills.attach(channel, who, may_ask)
        else:
            channel.close()

    def _consultation(self) -> str:
        case = self._case()
        return case.invitation.consultation if case is not None else ""

    def _encounter(self) -> str | None:
        case = self._case()
        encounter = case.invitation.summary.get("encounter") if case is not None else None
        return None if self._withheld() or not encounter else str(encounter)
