"""The table with all simulated devices on it: plugged, pulled and used as people do, one method for each deed."""

from __future__ import annotations

from datetime import date, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

from devices.clock import Clock
from devices.drivers import contec_8000g as ecg_wire
from devices.drivers.gmp_urine import KEYS
from devices.errors import AskPerson
from devices.simulators.analyser_report import Found, SpecimenReport
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import Cms50Twin, Finger
from devices.simulators.ecg_source import EcgSource, RecordedEcg, SynthesisedEcg
from devices.simulators.escpos_printer import EscPosPrinterTwin
from devices.simulators.gmp_urine import GmpUrineTwin
from devices.simulators.gnss import GnssTwin
from devices.simulators.hl7_analyser import Hl7AnalyserTwin
from devices.simulators.pty_port import PtyPort
from devices.simulators.sam_card import Card, SamCardTwin
from devices.simulators.twin import Twin

CHINA = timezone(timedelta(hours=8))
"""What the analysers' clocks show."""
BLUETOOTH = ("glucose", "blood_pressure")


class Meters(Protocol):
    """What the bench needs of ``BluetoothMeters``."""

    async def plug(self, device: Any) -> None: ...
    async def unplug(self, device: Any) -> None: ...
    async def glucose(self, glucose_mmol_l: float) -> None: ...
    async def blood_pressure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int) -> None: ...


class DeedRefused(AskPerson):
    """What was asked cannot be done; the message says why and what can."""

    code = "deed_refused"


class Bench:
    def __init__(self, ports: Path, clock: Clock, ecg: EcgSource, gnss: GnssTwin, meters: Meters | None) -> None:
        self._heart = ecg
        self.ecg, self.oximeter, self.card, self.gnss = ContecEcgTwin(ecg), Cms50Twin(), SamCardTwin(), gnss
        self.urine, self.blood_count, self.printer = GmpUrineTwin(), Hl7AnalyserTwin(), EscPosPrinterTwin()
        self._clock = clock
        self.meters = meters
        self._bluetooth_plugged = dict.fromkeys(BLUETOOTH, meters is not None)
        twins: dict[str, Twin] = {
            "ecg": self.ecg,
            "oximeter": self.oximeter,
            "card": self.card,
            "gnss": self.gnss,
            "urine": self.urine,
        }
        self.ports = {name: PtyPort(ports / name, twin, clock) for name, twin in twins.items()}

    def plug_all(self) -> None:
        for port in self.ports.values():
            port.attach()

    def unplug_all(self) -> None:
        for port in self.ports.values():
            port.detach()

    async def plug(self, device: str) -> None:
        await self._set_plugged(device, True)

    async def unplug(self, device: str) -> None:
        await self._set_plugged(device, False)

    async def _set_plugged(self, device: str, plugged: bool) -> None:
        if device in self.ports:
            port = self.ports[device]
            port.attach() if plugged else port.detach()
        elif device in BLUETOOTH:
            meters = self._bluetooth()
            await (meters.plug(device) if plugged else meters.unplug(device))
            self._bluetooth_plugged[device] = plugged
        else:
            raise DeedRefused(f"no device {device!r}; there are {', '.join((*self.ports, *BLUETOOTH))}")

    def lay_card(
        self, name: str, sex: str, born_on: str, id_number: str, address: str, ethnicity_code: str = "01"
    ) -> None:
        """
        :raises ValueError: a date that is none, a wrong check digit, a field too long for a card.
        """
        card = Card(name, sex, date.fromisoformat(born_on), id_number, address, ethnicity_code)
        card.text()
        self.card.put_card(card)

    def lift_card(self) -> None:
        self.card.put_card(None)

    def finger(self, on: bool, spo2_percent: int = 97, pulse_bpm: int = 72) -> None:
        """A finger in the oximeter. While a record is played, the pulse is the record's: one person has one heart."""
        if not (0 < spo2_percent <= 100 and 0 < pulse_bpm < 255):
            raise DeedRefused("spo2_percent goes from 1 to 100, pulse_bpm from 1 to 254")
        self.oximeter.put_finger(Finger(spo2_percent, self._pulse_bpm(pulse_bpm)) if on else None)

    def leads(self, off: list[str]) -> None:
        if unknown := set(off) - set(ecg_wire.CHANNELS):
            raise DeedRefused(f"no lead {', '.join(sorted(unknown))}; there are {', '.join(ecg_wire.CHANNELS)}")
        self.ecg.leads_off = frozenset(off)

    def heart(self, heart_rate_bpm: float, fibrillating: bool = False) -> None:
        """Whose heart the electrodes see; only where the ECG is synthesised."""
        if not 25 <= heart_rate_bpm <= 220:
            raise DeedRefused("heart_rate_bpm goes from 25 to 220")
        if not isinstance(self._heart, SynthesisedEcg):
            raise DeedRefused("the ECG is a record that is played: its heart is that of the record")
        self._heart.become(heart_rate_bpm, fibrillating)

    def position(self, latitude_deg: float, longitude_deg: float, speed_km_h: float = 0.0) -> None:
        """Where the receiver is from now on, and how fast it says that it goes."""
        if not 0 <= speed_km_h <= 200:
            raise DeedRefused("speed_km_h goes from 0 to 200")
        self.gnss.stand_at(float(latitude_deg), float(longitude_deg))
        self.gnss.speed_m_s = speed_km_h / 3.6

    def sky(self, open: bool) -> None:
        """Whether the receiver sees satellites."""
        self.gnss.fix = open

    async def glucose(self, glucose_mmol_l: float) -> None:
        await self._bluetooth().glucose(float(glucose_mmol_l))

    async def blood_pressure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int) -> None:
        """The cuff measures; its pulse as that of ``finger``."""
        pulse_bpm = self._pulse_bpm(int(pulse_bpm))
        await self._bluetooth().blood_pressure(int(systolic_mmhg), int(diastolic_mmhg), pulse_bpm)

    def read_strip(self, number: int, levels: dict[str, int]) -> None:
        """The urine reader reads a strip; what ``levels`` leaves out is "-".

        :raises DeedRefused: a number or level that the reader cannot show.
        """
        if not 0 <= number <= 2047 or not all(code in KEYS and 0 <= level <= 7 for code, level in levels.items()):
            raise DeedRefused(f"number goes from 0 to 2047, levels from 0 to 7 for {', '.join(KEYS)}")
        self.urine.measure(number, self._clock.now().astimezone(CHINA), levels)

    def count_blood(self, specimen: str, found: list[dict[str, Any]]) -> None:
        """The haematology analyser, which has called the van, sends a result.

        :param found: objects with code, said, unit, reference_range, flags, loinc
        """
        results = tuple(Found(**(row | {"flags": tuple(row.get("flags", ()))})) for row in found)
        said_at = self._clock.now().astimezone(CHINA).strftime("%Y%m%d%H%M%S")
        self.blood_count.report(SpecimenReport(str(specimen), said_at, results))

    def paper(self, loaded: bool, low: bool = False) -> None:
        """Whether there is paper in the slip printer, and whether it is about to end."""
        self.printer.paper_low = bool(low)
        if loaded:
            self.printer.put_paper_in()
        else:
            self.printer.paper_in = False

    def ecg_sent(self, last: int) -> dict[str, Any]:
        """The last samples as the bytes carried them: counts of ``resolution`` uV, -32768 for no value."""
        counts = self.ecg.sent(last)
        return {
            "channels": ecg_wire.CHANNELS,
            "sample_rate_hz": ecg_wire.SAMPLE_RATE_HZ,
            "resolution": ecg_wire.RESOLUTION_UV,
            "first_index": self.ecg.samples_sent - len(counts),
            "counts": counts.tolist(),
        }

    def state(self) -> dict[str, Any]:
        finger = self.oximeter.finger
        return {
            "plugged": {name: port.attached for name, port in self.ports.items()} | self._bluetooth_plugged,
            "bluetooth": self.meters is not None,
            "streaming": {"ecg": self.ecg.streaming, "oximeter": self.oximeter.streaming},
            "card": self.card.card is not None,
            "finger": None if finger is None else {"spo2_percent": finger.spo2_percent, "pulse_bpm": finger.pulse_bpm},
            "leads_off": sorted(self.ecg.leads_off),
            "ecg_samples_sent": self.ecg.samples_sent,
            "slips_printed": len(self.printer.slips),
            "position": {
                "latitude_deg": self.gnss.latitude_deg,
                "longitude_deg": self.gnss.longitude_deg,
                "replaying": self.gnss.replaying,
            },
            "lost_bytes": {name: port.lost_bytes for name, port in self.ports.items()},
        }

    def _pulse_bpm(self, asked_bpm: int) -> int:
        played_bpm = self._heart.heart_rate_bpm() if isinstance(self._heart, RecordedEcg) else None
        return asked_bpm if played_bpm is None else played_bpm

    def _bluetooth(self) -> Meters:
        if self.meters is None:
            raise DeedRefused("the simulators run without Bluetooth; start them with --bluetooth (package dbus)")
        return self.meters
