"""Value types that come out of devices. Pure; a unit stands in every field name.

No measurement is ``None`` or its own type, never 0. What the device itself claimed about time is ``device_said_at``:
text in ISO 8601 without zone, as the device showed it, because device clocks are wrong and have no zone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar

import numpy as np
import numpy.typing as npt

INVALID_COUNT = -32768
"""In ``Samples.counts``: no value at this sample (lead off, frame lost). Drawn and stored as a gap."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A chunk of waveform.

    ``counts`` is int16 of shape (n, len(channels)); physical value = count * resolution, in ``unit``.
    ``first_index`` counts samples since ``segment`` began; a jump is a gap; a new segment starts at 0 again.
    """

    stream: str
    """"ecg" or "pleth"."""
    channels: tuple[str, ...]
    """For ECG the IEEE 11073 lead names: I, II, III, aVR, aVL, aVF, V1..V6, and "ECG" where the electrodes may touch
    anywhere (hand-held, patch, strap). Derived leads are not sent."""
    sample_rate_hz: float
    segment: int
    first_index: int
    counts: npt.NDArray[np.int16]
    resolution: float
    unit: str
    """UCUM: "uV" for ECG, "1" for pleth."""

    def values(self) -> npt.NDArray[np.float64]:
        """Physical values, NaN where there is none."""
        physical: npt.NDArray[np.float64] = self.counts.astype(np.float64) * self.resolution
        physical[self.counts == INVALID_COUNT] = np.nan
        return physical

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.counts) - 1


@dataclass(frozen=True, slots=True)
class BloodPressure:
    """Bluetooth SIG Blood Pressure Measurement (0x2A35) in its own words."""

    kind: ClassVar[str] = "blood_pressure"
    systolic_mmhg: float
    diastolic_mmhg: float
    mean_mmhg: float | None = None
    pulse_bpm: float | None = None
    irregular_pulse: bool | None = None
    body_movement: bool | None = None
    cuff_too_loose: bool | None = None
    device_said_at: str | None = None


@dataclass(frozen=True, slots=True)
class CuffPressure:
    """Bluetooth SIG Intermediate Cuff Pressure (0x2A36): while a cuff is at work; at most five a second are published.

    ``cuff_mmhg`` None says that the measurement is over, with a value or without.
    """

    kind: ClassVar[str] = "cuff_pressure"
    cuff_mmhg: int | None
    heartbeat: bool | None = None
    """Whether the cuff feels the pulse at this pressure; None: not said."""


class GlucoseRange(StrEnum):
    """Of any meter with test strips."""

    IN_RANGE = "in_range"
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Glucose:
    """Bluetooth SIG Glucose Measurement (0x2A18). ``glucose_mmol_l`` is None where the meter showed LO or HI."""

    kind: ClassVar[str] = "glucose"
    glucose_mmol_l: float | None
    range: GlucoseRange = GlucoseRange.IN_RANGE
    sequence: int | None = None
    """The meter's own record number. It begins anew in a meter that was cleared or exchanged: only together with
    ``device_said_at`` it names a record."""
    sample_type: str | None = None
    meal: str | None = None
    """"fasting", "preprandial", "postprandial", "casual", "bedtime" or None: not said."""
    device_said_at: str | None = None


@dataclass(frozen=True, slots=True)
class PulseOximetry:
    """One number set of an oximeter; of a stream at most one a second is published."""

    kind: ClassVar[str] = "pulse_oximetry"
    spo2_percent: int | None
    pulse_bpm: int | None
    perfusion_index_percent: float | None = None
    device_said_at: str | None = None
    final: bool = False
    """True: a spot check (PLX Spot-Check Measurement, 0x2A5E) that the oximeter holds to be finished; else live."""


@dataclass(frozen=True, slots=True)
class Temperature:
    """A body temperature. ``temperature_c`` is None where the thermometer showed none."""

    kind: ClassVar[str] = "temperature"
    temperature_c: float | None
    site: str | None = None
    """Bluetooth SIG Temperature Type (0x2A1D) in words: "armpit", "body", "ear", "finger", "gastrointestinal_tract",
    "mouth", "rectum", "toe", "tympanum"; also "forehead". None: not said."""
    mode: str | None = None
    """What the thermometer was set to: "adult", "child"; None: not said."""
    final: bool = True
    """False: a number on the way (Intermediate Temperature, 0x2A1E) or one of a stream: shown live, kept by a tap."""
    from_memory: bool = False
    """One that the thermometer kept from before: nobody's until somebody says whose."""
    device_said_at: str | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """Bluetooth SIG Weight Measurement (0x2A9D) and Body Composition Measurement (0x2A9C).

    ``weight_kg`` is None where the scale could not measure. Height and what follows from it are as the scale was told.
    """

    kind: ClassVar[str] = "weight"
    weight_kg: float | None
    height_cm: float | None = None
    bmi: float | None = None
    """kg/m2."""
    body_fat_percent: float | None = None
    device_said_at: str | None = None


@dataclass(frozen=True, slots=True)
class HeartRate:
    """Bluetooth SIG Heart Rate Measurement (0x2A37); at most one a second is published.

    ``heart_rate_bpm`` None takes the last number back: no contact with the skin, or the strap went.
    """

    kind: ClassVar[str] = "heart_rate"
    heart_rate_bpm: int | None
    rr_ms: tuple[int, ...] = ()
    """RR intervals since the last reading, oldest first, in milliseconds; empty where the device tells none."""
    contact: bool | None = None
    """Whether the sensor touches the skin; None: it cannot tell."""


@dataclass(frozen=True, slots=True)
class UricAcid:
    """Uric acid of capillary blood from a strip. ``uric_acid_umol_l`` is None where the meter showed LO or HI."""

    kind: ClassVar[str] = "uric_acid"
    uric_acid_umol_l: float | None
    range: GlucoseRange = GlucoseRange.IN_RANGE
    sequence: int | None = None
    device_said_at: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What a device's own clock shows at the moment it is read: with the time it was received, how far it is off."""

    kind: ClassVar[str] = "device_clock"
    device_said_at: str


@dataclass(frozen=True, slots=True)
class StoredEcg:
    """An ECG that a device kept from before, as the file it sends; ``devices.ecg_files`` reads it. Nobody's until
    somebody says whose.
    """

    kind: ClassVar[str] = "stored_ecg"
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredOximetry:
    """A stretch of oximetry, mostly a night, that a device kept from before. Nobody's until somebody says whose.

    ``spo2_percent`` and ``pulse_bpm`` are equally long: a value every ``interval_s`` from the start on, None where the
    device had none (finger out, searching).
    """

    kind: ClassVar[str] = "stored_oximetry"
    spo2_percent: tuple[int | None, ...] = field(repr=False)
    pulse_bpm: tuple[int | None, ...] = field(repr=False)
    interval_s: float
    device_said_at: str | None = None
    """The start, by the device's own clock; None: it was told none."""

    @property
    def duration_s(self) -> float:
        return len(self.spo2_percent) * self.interval_s


@dataclass(frozen=True, slots=True)
class IdentityCard:
    """What a resident identity card says. Sensitive personal information: never logged."""

    kind: ClassVar[str] = "identity_card"
    name: str
    sex: str
    """"male", "female", "unknown" or "unspecified" (GB/T 2261.1 1, 2, 0, 9)."""
    ethnicity_code: str
    """GB/T 3304, "01".."56", "97", "98"."""
    born_on: date | None
    address: str
    id_number: str
    """18 characters, check digit verified (GB 11643, ISO 7064 MOD 11-2)."""
    issuer: str
    valid_from: date | None
    valid_until: date | None
    """None: long-term or not readable."""

    def __repr__(self) -> str:
        return "IdentityCard(…)"


@dataclass(frozen=True, slots=True)
class CardRemoved:
    kind: ClassVar[str] = "card_removed"


@dataclass(frozen=True, slots=True)
class Position:
    """One GNSS fix in WGS-84, or the statement that there is none (``latitude_deg`` None)."""

    kind: ClassVar[str] = "position"
    latitude_deg: float | None
    longitude_deg: float | None
    accuracy_m: float | None
    """Horizontal, one sigma; from GST, else estimated as HDOP * 5 m."""
    satellites: int
    speed_m_s: float | None = None
    gnss_at: datetime | None = None
    """UTC time in the sentences, aware."""
    spoofing: bool | None = None
    """What the receiver says of itself; None where its protocol cannot say it (NMEA 0183)."""
    jamming: bool | None = None


@dataclass(frozen=True, slots=True)
class ServingCell:
    """One cell that serves the modem; what it did not tell is None. Signal quantities are those of 3GPP TS 38.215."""

    technology: str
    """"lte" or "nr"."""
    mcc: str | None = None
    mnc: str | None = None
    tac: str | None = None
    """Tracking area code in hexadecimal, upper case, without leading zeros; ``cell_id`` (ECI or NCI) likewise."""
    cell_id: str | None = None
    pci: int | None = None
    """Physical cell identity."""
    arfcn: int | None = None
    """EARFCN or NR-ARFCN of the downlink."""
    band: str | None = None
    """"B3" or "n78"."""
    bandwidth_mhz: float | None = None
    subcarrier_spacing_khz: int | None = None
    rsrp_dbm: float | None = None
    rsrq_db: float | None = None
    sinr_db: float | None = None

    @property
    def identity(self) -> str | None:
        """ "MCC-MNC-TAC-CI", as tracks and the registry of villages have it; None while a part is missing."""
        parts = (self.mcc, self.mnc, self.tac, self.cell_id)
        return None if None in parts else "-".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Cellular:
    """How the modem stands in the mobile network; no subscriber or equipment identity is ever in it."""

    kind: ClassVar[str] = "cellular"
    sim: str | None = None
    """"ready", "pin", "puk", "absent" or "not_ready"."""
    registration: str = "unknown"
    """"home", "roaming", "searching", "limited", "denied", "none" or "unknown"."""
    technology: str | None = None
    """"nr_sa", "nr_nsa" (LTE anchor with NR), "lte", "umts" or "gsm"."""
    operator: str | None = None
    cells: tuple[ServingCell, ...] = ()
    """The anchor first."""
    carriers: int | None = None
    """Component carriers in use, the primary one included."""


@dataclass(frozen=True, slots=True)
class LaboratoryValue:
    """One analyte. What the analyser said stays as it said it; what we know about it stands beside it."""

    code: str
    """The analyser's own code or name: "GLI", "WBC"."""
    said: str
    """The result as sent: "6.40", "<0.5", "++", "-----"."""
    unit: str = ""
    """As sent: "mg/dL", "10^9/L"."""
    key: str | None = None
    """Our name of the analyte (devices/analytes); None: not in the map of this analyser, never guessed."""
    number: float | None = None
    """``said`` as a number, in ``unit``; with a comparator a bound. None for words, plus signs and dashes."""
    comparator: str | None = None
    """"<", "<=", ">" or ">="."""
    quantity: float | None = None
    """``number`` in the analyte's own unit ``ucum``; None when the unit sent is not one we can convert."""
    ucum: str | None = None
    reference_range: str = ""
    """As sent: "3.9-6.1", "negative"."""
    flags: tuple[str, ...] = ()
    """Abnormal flags as sent: "H", "LL", "A", "N"."""
    status: str = ""
    """Result status as sent (HL7 table 0085): "F" final, "C" corrected, "P" preliminary; with "X" (cannot be obtained)
    and "D", "W" (an earlier one is withdrawn) there is no result, and ``said`` is dashes; with "U" (the preliminary one
    is final) it may be empty."""


@dataclass(frozen=True, slots=True)
class LaboratoryResult:
    """What an analyser found in one specimen (ASTM E1394 order with its results, HL7 OBR with its OBX).

    Whose it is says nobody but the specimen's number; what was typed in at the analyser is sensitive, never logged.
    """

    kind: ClassVar[str] = "laboratory"
    specimen: str | None
    """Sample number or barcode as sent; None when there was none."""
    values: tuple[LaboratoryValue, ...]
    analyser: str = ""
    """What the analyser calls itself."""
    material: str | None = None
    """Kind of specimen as sent."""
    control: bool = False
    """A measurement of control material: belongs to nobody."""
    person_said: str | None = None
    """Name or number of a person as typed at the analyser: shown to whoever assigns, never used to assign."""
    comments: tuple[str, ...] = ()
    message_id: str | None = None
    device_said_at: str | None = None
    """When it was measured, by the analyser's clock."""
    message_said_at: str | None = None
    """When it was sent, by the analyser's clock: tells how far that clock is off."""

    def __repr__(self) -> str:
        return f"LaboratoryResult({len(self.values)} values, …)"


Reading = (
    BloodPressure
    | CuffPressure
    | Glucose
    | UricAcid
    | PulseOximetry
    | HeartRate
    | Temperature
    | Weight
    | LaboratoryResult
    | DeviceClock
    | StoredEcg
    | StoredOximetry
    | IdentityCard
    | CardRemoved
    | Position
    | Cellular
)


class Link(StrEnum):
    ABSENT = "absent"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    LOST = "lost"


class Sensor(StrEnum):
    OK = "ok"
    OFF = "off"
    SEARCHING = "searching"
    LEAD_OFF = "lead_off"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device is doing; published on every change and every 2 s while attached."""

    link: Link
    sensor: Sensor = Sensor.UNKNOWN
    leads_off: tuple[str, ...] = ()
    battery_percent: int | None = None
    fault: str | None = None
    """An error ``code`` of ours (see ``vehicle.hints``), None when all is well."""
    vendor_text: str | None = None
    counters: dict[str, int] = field(default_factory=dict)
    """frames, bad_checksums, resyncs, dropped_bytes, gaps."""


Event = Samples | Reading | DeviceState


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with the device it came from and the time it was received: what travels on the feed."""

    device: str
    """The stable name in settings, e.g. "ecg-1"."""
    driver: str
    received_at: datetime
    received_mono_s: float
    event: Event
