"""Glucose meters of the Bluetooth SIG Glucose Service (0x1808).

Models: every meter that claims the profile (Accu-Chek Guide and Instant, Contour Next One, GlucoMen areo, FORA, ...).
The meter keeps its results. After a measurement it advertises; we connect, subscribe, and ask through the Record Access
Control Point (RACP, 0x2A52) for the records that are not stored yet: those with a sequence number >= the last + 1. What
was stored is told from outside in ``last_sequence`` before ``open``; records that were sent but not stored come again.

A meter that was cleared or exchanged, or went past 65535, counts from the beginning again. That is noticed (its newest
record has a lower number than the last stored one) and then all its records are asked for and told.

Limits: the driver never deletes (RACP opcode 2) and never sets the meter's clock. Records of control solution, and
records that the meter itself marks as failed, are told as device state and are not readings. Sources: Glucose Service
1.0.1, Glucose Profile 1.0.1, GATT Specification Supplement. Not tested on hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from devices.driver import About, GattUse, Output, Write
from devices.nomenclature import metrics
from devices.readings import Glucose, GlucoseRange, Sensor
from devices.sig import Fields, Special, said_at
from devices.sig_profile import READ, ProfileDriver, Take, above_zero
from devices.sig_records import (
    ABORT,
    ALL_RECORDS,
    LAST_RECORD,
    NO_RECORDS,
    NOT_COMPLETED,
    RACP,
    RECORDS_FROM,
    REPORT,
    SUCCESS,
    UNSUPPORTED,
    RecordCount,
    decode_racp,
)

MEASUREMENT = "2A18"
CONTEXT = "2A34"

OFFSET_OVERRUN_MIN, OFFSET_UNDERRUN_MIN = 0x7FFF, -0x8000
"""The meter's display is further off its base time than the field can say (Glucose Service 1.0.1, section 3.1.1.4)."""

ANSWER_LIMIT_S = 30.0
"""Procedure time limit of the Glucose Profile, section 5.5.1.4, counted from the last sign of life."""
CONTEXT_LIMIT_S = 1.0
ASK_AGAIN_S = 2.0

SAMPLE_TYPES = {
    1: "capillary_whole_blood",
    2: "capillary_plasma",
    3: "venous_whole_blood",
    4: "venous_plasma",
    5: "arterial_whole_blood",
    6: "arterial_plasma",
    7: "undetermined_whole_blood",
    8: "undetermined_plasma",
    9: "interstitial_fluid",
    10: "control_solution",
}
MEALS = {1: "preprandial", 2: "postprandial", 3: "fasting", 4: "casual", 5: "bedtime"}

BATTERY_LOW = 1 << 0
RESULT_TOO_HIGH = 1 << 5
RESULT_TOO_LOW = 1 << 6
FAILURES = {
    1 << 1: "sensor malfunction",
    1 << 2: "sample size insufficient",
    1 << 3: "strip insertion error",
    1 << 4: "strip type incorrect",
    1 << 7: "temperature too high",
    1 << 8: "temperature too low",
    1 << 9: "strip pulled too soon",
    1 << 10: "general fault",
}
"""Sensor Status Annunciation bits after which the number is not a measurement."""

MAX_REMEMBERED = 4096
"""Records kept in mind to tell each once; more than any meter holds."""

MILLIGRAM_PER_MILLIMOL = 180.156
"""Molar mass of glucose."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Glucose Measurement (0x2A18), decoded and nothing more."""

    sequence: int
    base_time: datetime | None
    time_offset_min: int | None
    concentration: float | Special | None
    """In ``unit``."""
    unit: str
    """"kg/L" or "mol/L"."""
    sample_type: int | None
    location: int | None
    status: int | None
    context_follows: bool


def decode_measurement(value: bytes) -> Measurement:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    has_offset, has_concentration, in_moles, has_status, context_follows = (bool(flags & 1 << bit) for bit in range(5))
    sequence, base_time = fields.uint16(), fields.date_time()
    time_offset_min = fields.sint16() if has_offset else None
    concentration = fields.sfloat() if has_concentration else None
    type_and_location = fields.uint8() if has_concentration else None
    return Measurement(
        sequence=sequence,
        base_time=base_time,
        time_offset_min=time_offset_min,
        concentration=concentration,
        unit="mol/L" if in_moles else "kg/L",
        sample_type=None if type_and_location is None else type_and_location & 0xF,
        location=None if type_and_location is None else type_and_location >> 4,
        status=fields.uint16() if has_status else None,
        context_follows=context_follows,
    )


@dataclass(frozen=True, slots=True)
class Context:
    """Glucose Measurement Context (0x2A34): of its nine fields the two that are used."""

    sequence: int
    meal: int | None


def decode_context(value: bytes) -> Context:
    """:raises Truncated: the value ends before a field that its flags promise."""
    fields = Fields(value)
    flags = fields.uint8()
    sequence = fields.uint16()
    sizes = {7: 1, 0: 3, 1: 1, 2: 1, 3: 3, 4: 3, 6: 2}
    found = {bit: fields.take(size) for bit, size in sizes.items() if flags & 1 << bit}
    return Context(sequence=sequence, meal=found[1][0] if 1 in found else None)


def millimol_per_litre(concentration: float, unit: str) -> float:
    """Glucose in mmol/L of the characteristic's kg/L or mol/L, to three decimals."""
    if unit == "mol/L":
        return round(concentration * 1e3, 3)
    return round(concentration * 1e6 / MILLIGRAM_PER_MILLIMOL, 3)


class Driver(ProfileDriver):
    about: ClassVar[About] = About(
        title_zh="蓝牙血糖仪",
        title_en="Bluetooth glucose meter",
        models=("Bluetooth SIG Glucose Profile 1.0",),
        metrics=metrics("glucose", "glucose_mmol_l"),
        line=GattUse(service="1808", subscribe=(MEASUREMENT, CONTEXT, RACP), read=READ),
        source="Bluetooth SIG Glucose Service 1.0.1; GATT Specification Supplement, Glucose Measurement",
        lost_after_s=float("inf"),
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ALL_RECORDS, LAST_RECORD, RECORDS_FROM, ABORT)

    def __init__(self) -> None:
        super().__init__()
        self.last_sequence: int | None = None
        """Sequence number of the last stored record; set before ``open``. None: nothing is stored, ask for all."""
        self._asked = b""
        self._newest: int | None = None
        """Highest sequence number that came since ``_asked`` was sent."""
        self._silent_s = 0.0
        self._ask_again_in_s: float | None = None
        self._restarted = False
        self._held: Measurement | None = None
        self._held_s = 0.0
        self._told: set[tuple[int, str | None]] = set()
        self._told_before: set[tuple[int, str | None]] = set()

    def takes(self) -> Mapping[str, Take]:
        return {MEASUREMENT: self._on_measurement, CONTEXT: self._on_context, RACP: self._on_racp}

    def open(self) -> Output:
        output = self._flush()
        super().open()
        self._forget_what_was_not_stored()
        self._restarted = False
        self._ask(output, self._records_missing())
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        self._silent_s = 0.0
        return super().feed(chunk, channel)

    def tick(self, elapsed_s: float) -> Output:
        output = super().tick(elapsed_s)
        self._silent_s += elapsed_s
        self._held_s += elapsed_s
        if self._held is not None and self._held_s >= CONTEXT_LIMIT_S:
            output.events += self._flush().events
        if self._ask_again_in_s is not None:
            self._ask_again_in_s -= elapsed_s
            if self._ask_again_in_s <= 0:
                self._ask(output, self._records_missing())
        elif self._asked and self._silent_s >= ANSWER_LIMIT_S:
            self._ask(output, self._asked)
        return output

    def close(self) -> Output:
        output = self._flush()
        if self._asked:
            output.writes.append(Write(ABORT, RACP))
        self._asked = b""
        self._ask_again_in_s = None
        return output

    # what is asked

    def _records_missing(self) -> bytes:
        if self.last_sequence is None or self._restarted:
            return ALL_RECORDS
        if self.last_sequence >= 0xFFFF:
            return LAST_RECORD
        return RECORDS_FROM + (self.last_sequence + 1).to_bytes(2, "little")

    def _ask(self, output: Output, request: bytes) -> None:
        self._asked = request
        self._newest = None
        self._ask_again_in_s = None
        self._silent_s = 0.0
        output.writes.append(Write(request, RACP, after_stored=True))

    def _on_racp(self, value: bytes) -> Output:
        answer = decode_racp(value)
        output = self._flush()
        if isinstance(answer, RecordCount) or answer.request != REPORT:
            return output
        asked, self._asked = self._asked, b""
        cannot_filter = answer.code in UNSUPPORTED and asked.startswith(RECORDS_FROM)
        counts_anew = answer.code == SUCCESS and not self._restarted and self._newest_is_below_stored()
        self._restarted = self._restarted or counts_anew
        if answer.code == NO_RECORDS and asked.startswith(RECORDS_FROM):
            self._ask(output, LAST_RECORD)
        elif cannot_filter or counts_anew:
            self._ask(output, ALL_RECORDS)
        elif answer.code == NOT_COMPLETED:
            self._ask_again_in_s = ASK_AGAIN_S
        return output

    def _newest_is_below_stored(self) -> bool:
        return self._newest is not None and self.last_sequence is not None and self._newest < self.last_sequence

    # what comes

    def _on_measurement(self, value: bytes) -> Output:
        measurement = decode_measurement(value)
        output = self._flush()
        self._newest = max(measurement.sequence, self._newest or 0)
        if measurement.context_follows:
            self._held, self._held_s = measurement, 0.0
        else:
            self._tell(output, measurement, meal=None)
        return output

    def _on_context(self, value: bytes) -> Output:
        context = decode_context(value)
        held = self._held
        if held is None or held.sequence != context.sequence:
            return self._flush()
        self._held = None
        output = Output()
        self._tell(output, held, MEALS.get(context.meal or 0))
        return output

    def _flush(self) -> Output:
        """A measurement whose announced context did not come is told without it."""
        output = Output()
        held, self._held = self._held, None
        if held is not None:
            self._tell(output, held, meal=None)
        return output

    def _tell(self, output: Output, measurement: Measurement, meal: str | None) -> None:
        shown = _shown_at(measurement)
        record = (measurement.sequence, shown)
        if self._is_known(record):
            return
        if len(self._told) >= MAX_REMEMBERED:
            self._told.pop()
        self._told.add(record)
        failure = _failure(measurement)
        if failure:
            text = f"record {measurement.sequence}: {failure}"
            output.events.append(self.now(sensor=Sensor.ERROR, fault="glucose_not_measured", vendor_text=text))
            return
        glucose_mmol_l, where = _result(measurement)
        output.events.append(
            Glucose(
                glucose_mmol_l=glucose_mmol_l,
                range=where,
                sequence=measurement.sequence,
                sample_type=SAMPLE_TYPES.get(measurement.sample_type or 0),
                meal=meal,
                device_said_at=shown,
            )
        )
        output.events.append(self.now(sensor=Sensor.OK, fault=None, vendor_text=None))

    def _is_known(self, record: tuple[int, str | None]) -> bool:
        if record in self._told or record in self._told_before:
            return True
        return self.last_sequence is not None and not self._restarted and record[0] <= self.last_sequence

    def _forget_what_was_not_stored(self) -> None:
        """Suppress what was told on this and the last connection (its storing may be under way), nothing older.

        Who does not say what is stored (``last_sequence`` None) gets each record once.
        """
        if self.last_sequence is None:
            self._told_before |= self._told
        else:
            kept = {record for record in self._told_before if record[0] <= self.last_sequence}
            self._told_before = self._told | kept
        while len(self._told_before) > MAX_REMEMBERED:
            self._told_before.pop()
        self._told = set()


def _shown_at(measurement: Measurement) -> str | None:
    """The time on the meter's display; None where it cannot be said."""
    offset_min = measurement.time_offset_min or 0
    if offset_min in (OFFSET_OVERRUN_MIN, OFFSET_UNDERRUN_MIN):
        return None
    return said_at(measurement.base_time, offset_min)


def _result(measurement: Measurement) -> tuple[float | None, GlucoseRange]:
    """The number, or where it lies when the meter showed HI or LO."""
    status, concentration = measurement.status or 0, measurement.concentration
    if status & RESULT_TOO_HIGH or concentration is Special.POSITIVE_INFINITY:
        return None, GlucoseRange.HIGH
    if status & RESULT_TOO_LOW or concentration is Special.NEGATIVE_INFINITY:
        return None, GlucoseRange.LOW
    said = above_zero(concentration)
    return None if said is None else millimol_per_litre(said, measurement.unit), GlucoseRange.IN_RANGE


def _failure(measurement: Measurement) -> str | None:
    """Why this record is no measurement of a person, in the words of the service; None when it is one."""
    said = [words for bit, words in FAILURES.items() if (measurement.status or 0) & bit]
    if said:
        return ", ".join(said)
    if measurement.sample_type == 10:
        return "control solution"
    glucose_mmol_l, where = _result(measurement)
    return "no concentration" if glucose_mmol_l is None and where is GlucoseRange.IN_RANGE else None
