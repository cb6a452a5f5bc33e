"""Creative (科瑞康) PC-300 and its relatives: cuff, oximeter, thermometer, glucose meter and ECG in one case.

Models: PC-300 (PC_300SNT), PC-200, PC-100, GM-300SNT, PC-303. Over Bluetooth LE (service FFF0, notify FFF1, write FFF2;
other makers use it too, so the name decides), or over a classic Bluetooth serial port bound with rfcomm.

Packets: see ``devices.aa55``. The crew starts each measurement on the device; we listen.

======  ============================================================================================================
FF 04   version (two bytes BCD or one), hardware, battery 0-3; asked once a second as a sign of life. FF 01: name
40      01 the cuff starts, 02 it was stopped
42      pressure in the cuff: ((b0 & 0F) << 8) | b1 mmHg, b0 b4 a beat is felt
43 01   result: b0 b7 irregular, ((b0 & 7F) << 8) | b1 systolic, mean, diastolic, pulse; mmHg, /min
43 02   no result: code in b0-6 (see ``CUFF_FAULTS``)
52, 53  pleth, and parameters as those of the oximeters
72 01   thermometer: b5-6 0 idle 1 measuring 2 end 3 timed out, b4 probe off; T = 30 + u16 BE / 100, 0520: too hot
73      glucose: b4-5 0 in range 1 low 2 high, b0 unit; BCD / 10 mmol/L or u16 BE / 10 mg/dL
30      01 the ECG starts, 02 it ends
32      ECG: number, 25 samples, heart rate, b7 lead off. A sample's b15 set: 12 bits around 2048, gain of 34 (394 a
        mV); else 8 bits around 128, 28.5 a mV. Number 0: preparing
======  ============================================================================================================

**The ECG is experimental.** That it comes at 150 Hz is said in a comment of the vendor's source and nowhere else. So
the rate is measured while it comes: told in ``vendor_text`` after 10 s; when it is off by more than 5 % the wave is
withheld and the fault ``ecg_rate_unexpected`` told. Which lead it is depends on how the person holds it: "ECG". The
pleth's 50 Hz (two samples in each of 25 packets a second) stand in the same comment.

Never sent: 40 01 (inflates the cuff), 30 01, E5 (erases the meter's memory), E3 (exchanges the meter), FF 03 (clock),
FF 20 (id), 72 02. Results of the add-on meter in E2 have no unit on the wire and are not told; the device's own ECG
verdict (33) is not either. Source: viatomEcho/LepuBle (layouts as facts, no licence). Not tested on hardware.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from devices.aa55 import Packet, PacketFramer, battery_percent, bcd_version, packet, parameters_of
from devices.checked_oximeter import CheckedOximeter
from devices.driver import About, Counters, GattUse, Metric, Output, SerialLine, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.molar_mass import glucose_mmol_l
from devices.nomenclature import metrics
from devices.readings import (
    INVALID_COUNT,
    BloodPressure,
    CuffPressure,
    DeviceState,
    Event,
    Glucose,
    GlucoseRange,
    HeartRate,
    Link,
    Sensor,
    Temperature,
)
from devices.steady import SteadyNumber
from devices.wave_chunks import WaveChunks, count_or_none

ASK_NAME, ASK_VERSION = packet(0xFF, 0x01), packet(0xFF, 0x04)
ASK_EACH_S = 1.0
PAUSE_S = 0.05

PLETH_RATE_HZ = 50.0
PLETH_SAMPLES_PER_PACKET = 2
PLETH_PACKET_BYTES = 8

ECG_CHANNELS = ("ECG",)
ECG_RATE_HZ = 150.0
ECG_SAMPLES_PER_PACKET = 25
ECG_PACKET_BYTES = 1 + 2 * ECG_SAMPLES_PER_PACKET + 2
COUNTS_PER_MV, COUNTS_PER_MV_8_BIT = 394, 28.5
ECG_OFF_S = 2.0
"""So long without a packet: the ECG is over."""
RATE_WINDOW_S = 10.0
RATE_TOLERANCE = 0.05
RESULT_REPEATED_S = 10.0
"""A temperature that is said again so much later is another one, though nothing said that it was being measured."""
FAULT_SHOWN_S = 20.0
"""The other parts of the device work all the same: a failed measurement is told for so long."""
CUFF_SILENT_S = 5.0

CUFF_FAULTS = {
    1: ("cuff_not_tight", "below 30 mmHg after 7 s"),
    2: ("cuff_faulty", "over 295 mmHg"),
    3: ("blood_pressure_not_measured", "no valid pulse"),
    4: ("cuff_moved", "too much disturbance"),
    5: ("blood_pressure_not_measured", "result not valid"),
    6: ("cuff_leaks", "leak"),
    7: ("cuff_faulty", "self-test failed"),
    8: ("cuff_faulty", "valve"),
    9: ("cuff_moved", "signal too large"),
    10: ("cuff_leaks", "leak in the leak test"),
    11: ("cuff_faulty", "pump, converter or sensor"),
    12: ("blood_pressure_not_measured", "took too long"),
    14: ("device_battery_low", "battery low"),
}
"""Code of 43 02 -> what a person is told, and what the device means. 7 to 12 only from the KRK module (b7 set)."""
IDLE, MEASURING, ENDED, TIMED_OUT = range(4)
TOO_HOT = 0x0520


class Driver:
    about: ClassVar[About] = About(
        title_zh="科瑞康 PC-300 健康一体机(心电为实验性)",
        title_en="Creative PC-300 all-in-one (ECG experimental)",
        models=("PC-300", "PC-300SNT", "PC-200", "PC-100", "GM-300SNT", "PC-303"),
        metrics=(
            *metrics("blood_pressure", "systolic_mmhg", "diastolic_mmhg", "mean_mmhg", "pulse_bpm"),
            *metrics("pulse_oximetry", "spo2_percent", "pulse_bpm", "perfusion_index_percent"),
            *metrics("temperature", "temperature_c"),
            *metrics("glucose", "glucose_mmol_l"),
            *metrics("heart_rate", "heart_rate_bpm"),
            Metric("pleth", mdc=None, loinc=None, ucum="1", sample_rate_hz=PLETH_RATE_HZ),
            Metric("ecg", mdc=131328, loinc="11524-6", ucum="uV", sample_rate_hz=ECG_RATE_HZ),
        ),
        line=(
            GattUse(
                service="FFF0",
                subscribe=("FFF1",),
                write="FFF2",
                names=("PC_300SNT", "PC-300", "PC-200", "PC-100", "GM_300SNT", "CMI_PC303"),
                shared_service=True,
                bond=False,
            ),
            SerialLine(115200),
        ),
        source="viatomEcho/LepuBle (facts); hardware/protocols/creative_pc300.md",
        lost_after_s=3.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_NAME, ASK_VERSION)

    def __init__(self) -> None:
        self.counters = Counters()
        self.identity: Identity | None = None
        self._framer = PacketFramer(self.counters)
        self._oximeter = CheckedOximeter(PLETH_RATE_HZ, PLETH_SAMPLES_PER_PACKET, PLETH_PACKET_BYTES, self.counters)
        self._ecg = Ecg(self.counters)
        self._takes = {
            0x30: self._on_ecg_command,
            0x32: self._on_ecg,
            0x34: self._on_gain,
            0x40: self._on_cuff_command,
            0x42: self._on_cuff_pressure,
            0x43: self._on_cuff_result,
            0x52: self._on_pleth,
            0x53: self._on_oximetry,
            0x72: self._on_temperature,
            0x73: self._on_glucose,
            0xFF: self._on_device,
        }
        self._begin()

    def _begin(self) -> None:
        self._framer.reset()
        self._oximeter.begin()
        self._ecg.begin()
        self._state = DeviceState(Link.CONNECTED, Sensor.OK)
        self._state_told = False
        self._fault_s = 0.0
        self._since_asked_s = 0.0
        self._cuff_s: float | None = None
        """Since the last pressure; None: the cuff is at rest."""
        self._thermometer = IDLE
        self._thermometer_s = 0.0
        """Since the thermometer spoke last."""
        self._quiet = False
        self.identity = None

    def open(self) -> Output:
        self._begin()
        return Output(writes=[Write(ASK_NAME), Write(ASK_VERSION, after_s=PAUSE_S)])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._oximeter.withdraw(output.events)
        self._ecg.stop(output.events)
        self._cuff_at_rest(output.events)
        self._thermometer_at_rest(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Packet) and (take := self._takes.get(piece.token)) is not None:
                take(piece, output.events)
            elif isinstance(piece, Spoiled) and not self._ecg.running:
                self._oximeter.spoiled(piece.n_bytes, output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            self._oximeter.publish_wave(output.events)
        self._quiet = True
        self._framer.tick(elapsed_s)
        self._oximeter.tick(elapsed_s, output.events)
        self._watch_ecg(elapsed_s, output.events)
        if self._cuff_s is not None:
            self._cuff_s += elapsed_s
            if self._cuff_s >= CUFF_SILENT_S:
                self._cuff_at_rest(output.events)
        self._thermometer_s += elapsed_s
        if self._thermometer_s >= RESULT_REPEATED_S and self._thermometer != MEASURING:
            self._thermometer = IDLE
        self._fault_s += elapsed_s
        if self._state.fault is not None and self._fault_s >= FAULT_SHOWN_S:
            self._tell(output.events, fault=None, vendor_text=None)
        self._since_asked_s += elapsed_s
        if self._since_asked_s >= ASK_EACH_S:
            self._since_asked_s = 0.0
            output.writes.append(Write(ASK_VERSION))
        return output

    # the device

    def _on_device(self, said: Packet, events: list[Event]) -> None:
        if said.type == 0x01:
            self._identify(model=said.data.decode("ascii", "replace").strip("\x00 "))
        elif said.type in (0x02, 0x04) and len(said.data) >= 3:
            software = said.data[:2] if len(said.data) == 4 else said.data[:1]
            self._identify(firmware=bcd_version(*software))
            self._tell(events, battery_percent=battery_percent(said.data[-1]))

    def _identify(self, **said: str) -> None:
        self.identity = replace(self.identity or Identity("Creative"), **said)

    def _tell(self, events: list[Event], **changed: Any) -> None:
        state = replace(self._state, **changed)
        if changed.get("fault") is not None:
            self._fault_s = 0.0
        if state != self._state or not self._state_told:
            self._state, self._state_told = state, True
            events.append(state)

    # the cuff

    def _on_cuff_command(self, said: Packet, events: list[Event]) -> None:
        if said.type == 0x01:
            self._tell(events, fault=None, vendor_text=None)
        elif said.type == 0x02:
            self._cuff_at_rest(events)

    def _on_cuff_pressure(self, said: Packet, events: list[Event]) -> None:
        if len(said.data) < 2:
            return
        if self._cuff_s is None:
            self._tell(events, fault=None, vendor_text=None)
        self._cuff_s = 0.0
        events.append(CuffPressure((said.data[0] & 0x0F) << 8 | said.data[1], bool(said.data[0] & 0x10)))

    def _cuff_at_rest(self, events: list[Event]) -> None:
        if self._cuff_s is not None:
            self._cuff_s = None
            events.append(CuffPressure(None))

    def _on_cuff_result(self, said: Packet, events: list[Event]) -> None:
        if said.type == 0x01 and len(said.data) >= 5:
            self._cuff_at_rest(events)
            high, low, mean, diastolic, pulse = said.data[:5]
            systolic = (high & 0x7F) << 8 | low
            if not systolic or not diastolic:
                self._tell(events, fault="blood_pressure_not_measured", vendor_text="43 01 without a value")
                return
            events.append(BloodPressure(systolic, diastolic, mean or None, pulse or None, bool(high & 0x80)))
            self._tell(events, fault=None, vendor_text=None)
        elif said.type == 0x02 and said.data:
            self._cuff_at_rest(events)
            code = said.data[0] & 0x7F
            fault, meaning = CUFF_FAULTS.get(code, ("blood_pressure_not_measured", "not documented"))
            self._tell(events, fault=fault, vendor_text=f"43 02, code {code}: {meaning}")

    # oximeter, thermometer, glucose meter

    def _on_pleth(self, said: Packet, events: list[Event]) -> None:
        if said.type == 0x01:
            self._oximeter.wave(said.data, events)

    def _on_oximetry(self, said: Packet, events: list[Event]) -> None:
        parameters = parameters_of(said.data)
        if parameters is not None:
            self._oximeter.parameters(parameters, events)

    def _on_temperature(self, said: Packet, events: list[Event]) -> None:
        if said.type != 0x01 or len(said.data) < 3:
            return
        before, self._thermometer = self._thermometer, said.data[0] >> 5 & 0b11
        self._thermometer_s = 0.0
        raw, probe_off = said.data[1] << 8 | said.data[2], bool(said.data[0] & 0x10)
        temperature_c = None if probe_off or raw >= TOO_HOT else round(30 + raw / 100, 2)
        if self._thermometer == MEASURING:
            if temperature_c is not None:
                events.append(Temperature(temperature_c, final=False))
            return
        if before == MEASURING:
            events.append(Temperature(None, final=False))
        if self._thermometer == ENDED and before != ENDED and temperature_c is not None:
            events.append(Temperature(temperature_c))
            self._tell(events, fault=None, vendor_text=None)
        elif self._thermometer != before and self._thermometer in (ENDED, TIMED_OUT):
            why = "probe off" if probe_off else "too hot" if raw == TOO_HOT else "timed out"
            self._tell(events, fault="temperature_not_measured", vendor_text=f"72 01: {why}")

    def _thermometer_at_rest(self, events: list[Event]) -> None:
        if self._thermometer == MEASURING:
            events.append(Temperature(None, final=False))
        self._thermometer = IDLE

    def _on_glucose(self, said: Packet, events: list[Event]) -> None:
        if len(said.data) < 3:
            return
        where = {0: GlucoseRange.IN_RANGE, 1: GlucoseRange.LOW, 2: GlucoseRange.HIGH}.get(said.data[0] >> 4 & 0b11)
        value = glucose_of(said.data[1:3], in_mg_dl=bool(said.data[0] & 0x01))
        if where is None or (where is GlucoseRange.IN_RANGE and not value):
            self._tell(events, fault="glucose_not_measured", vendor_text=f"73: {said.data.hex()}")
            return
        events.append(Glucose(value if where is GlucoseRange.IN_RANGE else None, where))
        self._tell(events, fault=None, vendor_text=None)

    # ECG

    def _on_ecg(self, said: Packet, events: list[Event]) -> None:
        if len(said.data) < ECG_PACKET_BYTES:
            return
        self._ecg.take(said.data, events)
        self._tell_leads(events)

    def _on_ecg_command(self, said: Packet, events: list[Event]) -> None:
        if said.type == 0x02:
            self._ecg.stop(events)

    def _on_gain(self, said: Packet, events: list[Event]) -> None:
        if len(said.data) >= 2:
            self._ecg.counts_per_mv = (said.data[0] << 8 | said.data[1]) or COUNTS_PER_MV

    def _tell_leads(self, events: list[Event]) -> None:
        off = ECG_CHANNELS if self._ecg.running and self._ecg.lead_off else ()
        self._tell(events, sensor=Sensor.LEAD_OFF if off else Sensor.OK, leads_off=off)

    def _watch_ecg(self, elapsed_s: float, events: list[Event]) -> None:
        self._ecg.tick(elapsed_s, events)
        if self._ecg.leaves_state(self._state):
            self._tell_leads(events)
        measured_hz = self._ecg.judge_rate()
        if measured_hz is None:
            return
        told: dict[str, Any] = {"fault": "ecg_rate_unexpected"} if self._ecg.withheld else {}
        text = f"ECG: {measured_hz:.1f} samples a second measured, {ECG_RATE_HZ:g} assumed"
        self._tell(events, vendor_text=text, **told)


class Ecg:
    """The wave while it comes: numbers that count, a gap for what is missing, its rate against the clock."""

    def __init__(self, counters: Counters) -> None:
        self._wave = WaveChunks("ecg", ECG_CHANNELS, ECG_RATE_HZ, 1.0, "uV", counters, ECG_SAMPLES_PER_PACKET)
        self._heart_rate = SteadyNumber[int](ECG_RATE_HZ / ECG_SAMPLES_PER_PACKET, HeartRate, agreeing_frames=1)
        self.begin()

    def begin(self) -> None:
        self.counts_per_mv: float = COUNTS_PER_MV
        self.lead_off = False
        self.withheld = False
        """The rate is not what it should be: nothing is published until the next ECG begins."""
        self._heart_rate.begin()
        self._begin_wave()

    def _begin_wave(self) -> None:
        self.running = False
        self._number: int | None = None
        self._silent_s = 0.0
        self._clock_s = 0.0
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] = (0.0, 0)
        self._came = 0
        """Samples of this ECG, also those that are lost, published or not."""
        self._wave.begin()

    def take(self, data: bytes, events: list[Event]) -> None:
        """One packet of ``ECG_PACKET_BYTES`` or more."""
        if not self.running:
            self._begin_wave()
            self.running, self.withheld = True, False
        self._silent_s = 0.0
        self._heard(self._lost_before(data[0]), events)
        self.lead_off = bool(data[-1] & 0x80)
        if not self.withheld:
            for i in range(1, 1 + 2 * ECG_SAMPLES_PER_PACKET, 2):
                self._wave.append((self._microvolts(data[i], data[i + 1]),), events)
        rate = data[-2]
        self._heart_rate.take(None if self.lead_off or rate in (0, 255) else rate, events)

    def _lost_before(self, number: int) -> int:
        """Packets between the last number (1 to 255, then 1 again) and this one; 0 while the device prepares."""
        before, self._number = self._number, number
        return (number - before - 1) % 255 if before and number else 0

    def _heard(self, lost: int, events: list[Event]) -> None:
        if not self.withheld:
            self._wave.lose(lost * ECG_SAMPLES_PER_PACKET, events)
        self._came += (lost + 1) * ECG_SAMPLES_PER_PACKET
        self._first = self._first or (self._clock_s, self._came)
        self._last = (self._clock_s, self._came)

    def _microvolts(self, high: int, low: int) -> int:
        if self.lead_off:
            return INVALID_COUNT
        raw = (high & 0x0F) << 8 | low
        if not high & 0x80:
            return round((raw - 128) * 1000 / COUNTS_PER_MV_8_BIT) if raw <= 0xFF else INVALID_COUNT
        return INVALID_COUNT if raw in (0, 0xFFF) else count_or_none((raw - 2048) * 1000 / self.counts_per_mv)

    def tick(self, elapsed_s: float, events: list[Event]) -> None:
        self._heart_rate.tick(elapsed_s, events)
        self._clock_s += elapsed_s
        self._silent_s += elapsed_s
        if self.running and self._silent_s >= ECG_OFF_S:
            self.stop(events)

    def stop(self, events: list[Event]) -> None:
        self._wave.publish(events)
        self._heart_rate.withdraw(events)
        self.running = self.lead_off = False

    def leaves_state(self, state: DeviceState) -> bool:
        """Whether the ECG ended and its electrodes are still told as off."""
        return not self.running and bool(state.leads_off)

    def judge_rate(self) -> float | None:
        """Once for every ``RATE_WINDOW_S`` of ECG: samples a second, arrived or lost. Judges whether to go on."""
        if self._first is None or self._last[0] - self._first[0] < RATE_WINDOW_S:
            return None
        (first_s, first), (last_s, last) = self._first, self._last
        measured_hz = (last - first) / (last_s - first_s)
        self._first = self._last
        self.withheld = self.withheld or abs(measured_hz / ECG_RATE_HZ - 1) > RATE_TOLERANCE
        return measured_hz


def glucose_of(data: bytes, in_mg_dl: bool) -> float | None:
    """Two bytes as mmol/L; None: a BCD digit that is none."""
    if in_mg_dl:
        return glucose_mmol_l(int.from_bytes(data, "big") / 10)
    digits = data.hex()
    return int(digits) / 10 if digits.isdecimal() else None
