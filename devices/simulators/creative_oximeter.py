"""Twin of a Creative oximeter (``AA 55``): PC-60FW, which sends by itself, or AP-20, which waits to be switched on."""

from __future__ import annotations

from devices.aa55 import PROBE_FAULT, PROBE_OFF, SEARCHING, packet
from devices.drivers import creative_oximeter as wire
from devices.simulators.contec_cms50 import SEARCHING_S, Finger, pulse_wave

VERSION_REPLY = bytes.fromhex("AA55F00A01210313") + b"AP-20\x62"
"""As in the vendor's document: software 2.1.0.3, hardware 1.3, "AP-20"."""
SERIAL_NUMBER_REPLY = bytes.fromhex("AA55F00802323841425A442E")
RATES = {wire.PARAMETERS_ON: packet(0x0F, 0x04, b"\x01"), wire.WAVE_ON: packet(0x0F, 0x05, b"\x32")}
COMMAND_BYTES = 13
PACKETS_PER_S = 10


class CreativeOximeterTwin:
    def __init__(self, switched_on_by_host: bool = False) -> None:
        self.finger: Finger | None = None
        self.battery_level = 3
        self.probe_fault = False
        self.pleth_sent: list[int] = []
        """Samples as the bytes carried them, of a finger."""
        self._waits = switched_on_by_host
        self.power_on()

    def power_on(self) -> None:
        self._half = b""
        self._parameters_on = self._wave_on = not self._waits
        self._finger_s = self._owed_packets = 0.0
        self._packets = 0
        self._beat = 0.0

    @property
    def streaming(self) -> bool:
        return self._parameters_on or self._wave_on

    def put_finger(self, finger: Finger | None) -> None:
        if self.finger is None or finger is None:
            self._finger_s = 0.0
        self.finger = finger

    def receive(self, chunk: bytes) -> bytes:
        self._half += chunk
        answer = b""
        while (at := self._half.find(b"\xaa\x55")) >= 0 and len(self._half) >= at + 4:
            end = at + 4 + self._half[at + 3]
            if len(self._half) < end:
                break
            answer += self._answer(self._half[at:end])
            self._half = self._half[end:]
        self._half = self._half[-COMMAND_BYTES:]
        return answer

    def _answer(self, command: bytes) -> bytes:
        self._parameters_on |= command == wire.PARAMETERS_ON
        self._wave_on |= command == wire.WAVE_ON
        known = {wire.ASK_VERSION: VERSION_REPLY, wire.ASK_SERIAL_NUMBER: SERIAL_NUMBER_REPLY} | RATES
        return known.get(command, b"")

    def advance(self, elapsed_s: float) -> bytes:
        self._owed_packets += elapsed_s * PACKETS_PER_S
        n = int(self._owed_packets + 1e-9)
        self._owed_packets -= n
        return b"".join(self._tenth_of_a_second() for _ in range(n))

    def _tenth_of_a_second(self) -> bytes:
        sent = b""
        if self._packets % PACKETS_PER_S == 0 and self._parameters_on:
            sent += parameters(self.finger, self._finger_s < SEARCHING_S, self.battery_level, self.probe_fault)
        self._packets += 1
        self._finger_s += 1 / PACKETS_PER_S
        samples = bytes(self._sample() for _ in range(wire.SAMPLES_PER_PACKET))
        return sent + (packet(0x0F, 0x02, samples) if self._wave_on else b"")

    def _sample(self) -> int:
        if self.finger is None:
            return 0
        before, self._beat = self._beat, (self._beat + self.finger.pulse_bpm / 60 / wire.SAMPLE_RATE_HZ) % 1.0
        pleth = pulse_wave(self._beat)
        if self._wave_on:
            self.pleth_sent.append(pleth)
        return pleth | (self._beat < before) << 7


def parameters(finger: Finger | None, early: bool, battery_level: int, probe_fault: bool = False) -> bytes:
    """Token 0F, type 01; a finger that was put in just now has no numbers yet."""
    status_2 = battery_level << 6
    if finger is None or early:
        status_1 = PROBE_OFF if finger is None else SEARCHING
        numbers = bytes(4)
    else:
        status_1 = 0
        perfusion_e1 = round(finger.perfusion_index_e2 / 10)
        numbers = bytes((finger.spo2_percent,)) + finger.pulse_bpm.to_bytes(2, "little") + bytes((perfusion_e1,))
    status_1 |= PROBE_FAULT if probe_fault else 0
    return packet(0x0F, 0x01, numbers + bytes((status_1, status_2)))
