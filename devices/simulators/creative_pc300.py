"""Twin of a Creative PC-300: a cuff that inflates and measures, finger, thermometer, test strip and ECG."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from devices.aa55 import packet
from devices.drivers import creative_pc300 as wire
from devices.readings import INVALID_COUNT
from devices.simulators.contec_cms50 import SEARCHING_S, pulse_wave
from devices.simulators.creative_oximeter import CreativeOximeterTwin, parameters
from devices.simulators.ecg_source import EcgSource
from devices.simulators.lead_source import LeadSource

NAME_REPLY = packet(0xFF, 0x01, b"PC_300SNT")
CUFF_STEP_S = 0.2
HIGHEST_MMHG = 180
DEFLATING_MMHG = 6
THERMOMETER_STEP_S = 0.5
REMEMBERED_SAMPLES = 60 * 150


class Pc300Twin(CreativeOximeterTwin):
    """What lies on it (finger, electrodes) streams; a measurement of the cuff or the thermometer takes its time."""

    def __init__(self, source: EcgSource, ecg_rate_hz: float = wire.ECG_RATE_HZ, gain: int = 394) -> None:
        """
        :param ecg_rate_hz: at which packets are sent, whatever the driver assumes
        :param gain: counts a millivolt, told in token 34
        """
        self.lead_off = False
        self.heart_rate_bpm = 72
        self.eight_bit = False
        self.ecg_sent = np.empty(0, np.int16)
        """Whole microvolts as the bytes carried them; ``INVALID_COUNT`` with an electrode off."""
        self._source = LeadSource(source, wire.ECG_RATE_HZ)
        self._ecg_rate_hz, self._gain = ecg_rate_hz, gain
        super().__init__()

    def power_on(self) -> None:
        super().power_on()
        self._ecg_number: int | None = None
        self._owed_ecg = 0.0
        self._later: list[tuple[float, bytes]] = []
        """Seconds from now, and what is sent then; in order."""

    # what the crew does

    def measure_pressure(
        self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int, irregular: bool = False
    ) -> None:
        """Start on the cuff: it inflates to 180 mmHg, deflates, and shows a result."""
        mean = round(diastolic_mmhg + (systolic_mmhg - diastolic_mmhg) / 3)
        first = systolic_mmhg >> 8 | irregular << 7
        result = bytes((first, systolic_mmhg & 0xFF, mean, diastolic_mmhg, pulse_bpm))
        self._inflate(down_to_mmhg=diastolic_mmhg, beats_below_mmhg=systolic_mmhg, end=packet(0x43, 0x01, result))

    def fail_pressure(self, code: int, krk_module: bool = False) -> None:
        """Start on the cuff, and no result: ``code`` of token 43, type 02."""
        self._inflate(down_to_mmhg=120, beats_below_mmhg=0, end=packet(0x43, 0x02, bytes((code | krk_module << 7,))))

    def _inflate(self, down_to_mmhg: int, beats_below_mmhg: int, end: bytes) -> None:
        up = range(10, HIGHEST_MMHG, 30)
        pressures = [*up, *range(HIGHEST_MMHG, down_to_mmhg, -DEFLATING_MMHG)]
        steps = [packet(0x40, 0x01)]
        for i, pressure_mmhg in enumerate(pressures):
            beats = i >= len(up) and pressure_mmhg < beats_below_mmhg and i % 4 == 0
            steps.append(packet(0x42, 0x01, bytes((pressure_mmhg >> 8 | beats << 4, pressure_mmhg & 0xFF))))
        self._follow([*steps, end], CUFF_STEP_S)

    def measure_temperature(self, temperature_c: float) -> None:
        warming = [self._temperature(wire.MEASURING, temperature_c - behind) for behind in (1.2, 0.5, 0.2, 0.1)]
        self._follow([*warming, self._temperature(wire.ENDED, temperature_c)], THERMOMETER_STEP_S)

    def measure_glucose(self, glucose_mmol_l: float) -> None:
        self._follow([packet(0x73, 0x01, b"\x00" + bytes.fromhex(f"{round(glucose_mmol_l * 10):04d}"))], 0.1)

    def start_ecg(self) -> None:
        self._ecg_number, self._owed_ecg = 0, 0.0
        self._follow([packet(0x30, 0x01), packet(0x34, 0x01, self._gain.to_bytes(2, "big"))], 0.0)

    def stop_ecg(self) -> None:
        self._ecg_number = None
        self._follow([packet(0x30, 0x02), packet(0x33, 0x01, bytes((0, 0, self.heart_rate_bpm)))], 0.0)

    def _temperature(self, state: int, temperature_c: float) -> bytes:
        raw = round((temperature_c - 30) * 100)
        return packet(0x72, 0x01, bytes((state << 5,)) + raw.to_bytes(2, "big"))

    def _follow(self, steps: list[bytes], step_s: float) -> None:
        start_s = self._later[-1][0] if self._later else 0.0
        self._later += [(start_s + (i + 1) * step_s, sent) for i, sent in enumerate(steps)]

    # the wire

    def _answer(self, command: bytes) -> bytes:
        version = packet(0xFF, 0x04, bytes((0x12, 0x05, 0x10, self.battery_level)))
        return {wire.ASK_NAME: NAME_REPLY, wire.ASK_VERSION: version}.get(command, b"")

    def advance(self, elapsed_s: float) -> bytes:
        sent = b"".join(step for due_s, step in self._later if due_s <= elapsed_s)
        self._later = [(due_s - elapsed_s, step) for due_s, step in self._later if due_s > elapsed_s]
        return sent + super().advance(elapsed_s) + self._ecg(elapsed_s)

    def _tenth_of_a_second(self) -> bytes:
        sent = b""
        if self._packets % 10 == 0:
            said = parameters(self.finger, self._finger_s < SEARCHING_S, 0)[5:-2]
            sent += packet(0x53, 0x01, said)
        self._packets += 1
        self._finger_s += 0.1
        if self.finger is None:
            return sent
        samples = [self._sample() for _ in range(5)]
        return sent + b"".join(packet(0x52, 0x01, bytes(pair)) for pair in (samples[:2], samples[2:4], samples[4:]))

    def _sample(self) -> int:
        if self.finger is None:
            return 0
        self._beat = (self._beat + self.finger.pulse_bpm / 60 / wire.PLETH_RATE_HZ) % 1.0
        self.pleth_sent.append(pulse_wave(self._beat))
        return self.pleth_sent[-1]

    def _ecg(self, elapsed_s: float) -> bytes:
        if self._ecg_number is None:
            return b""
        self._owed_ecg += elapsed_s * self._ecg_rate_hz / wire.ECG_SAMPLES_PER_PACKET
        n = int(self._owed_ecg + 1e-9)
        self._owed_ecg -= n
        return b"".join(self._ecg_packet() for _ in range(n))

    def _ecg_packet(self) -> bytes:
        assert self._ecg_number is not None
        number, self._ecg_number = self._ecg_number, self._ecg_number % 255 + 1
        scale = wire.COUNTS_PER_MV_8_BIT if self.eight_bit else self._gain
        middle = 128 if self.eight_bit else 2048
        ideal = np.round(self._source.next_uv(wire.ECG_SAMPLES_PER_PACKET)[:, 0] * scale / 1000) + middle
        raw = np.clip(ideal, 1, 2 * middle - 2).astype(np.int64)
        said = np.round((raw - middle) * 1000 / scale).astype(np.int16)
        said[:] = INVALID_COUNT if self.lead_off else said
        self.ecg_sent = np.concatenate([self.ecg_sent, said])[-REMEMBERED_SAMPLES:]
        mark = 0 if self.eight_bit else 0x8000
        flags = bytes((self.heart_rate_bpm, self.lead_off << 7))
        return packet(0x32, 0x01, bytes((number,)) + (raw | mark).astype(">u2").tobytes() + flags)

    def sent(self, last: int) -> npt.NDArray[np.int16]:
        """The last samples in whole microvolts, shape (n, 1)."""
        return self.ecg_sent[-last:].reshape(-1, 1)
