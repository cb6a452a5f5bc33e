"""Twin of a Contec CMS50D-BT: answers its model, streams wave and numbers once asked, stops without keep-alive."""

from __future__ import annotations

from devices.drivers import contec_cms50d_bt as wire
from devices.simulators.contec_cms50 import SEARCHING_S, Finger, pulse_wave

MODEL_REPLY = wire.frame_of(0xF1, *b"50D-BT  ")
STOPPED_REPLY = wire.frame_of(0xEB, 0x7F)
SILENT_AFTER_S = 30.0
NO_NUMBERS = (0xFF, 0x7F)
COMMANDS = (wire.ASK_MODEL, wire.START_WAVE, wire.START_NUMBERS, wire.KEEP_ALIVE, wire.STOP)


class Cms50dBtTwin:
    def __init__(self) -> None:
        self.finger: Finger | None = None
        self.pleth_sent: list[int] = []
        """Samples as the bytes carried them."""
        self.power_on()

    def power_on(self) -> None:
        self._half = b""
        self._wave = self._numbers = False
        self._finger_s = self._owed = self._since_keep_alive_s = 0.0
        self._sent = 0
        self._beat = 0.0

    @property
    def streaming(self) -> bool:
        return self._wave or self._numbers

    def put_finger(self, finger: Finger | None) -> None:
        self._finger_s = 0.0
        self.finger = finger

    def receive(self, chunk: bytes) -> bytes:
        self._half += chunk
        answer = b""
        while (command := next((known for known in COMMANDS if self._half.startswith(known)), None)) is not None:
            self._half = self._half[len(command) :]
            answer += self._answer(command)
        return answer

    def _answer(self, command: bytes) -> bytes:
        self._since_keep_alive_s = 0.0
        self._wave = (self._wave or command == wire.START_WAVE) and command != wire.STOP
        self._numbers = (self._numbers or command == wire.START_NUMBERS) and command != wire.STOP
        return {wire.ASK_MODEL: MODEL_REPLY, wire.STOP: STOPPED_REPLY}.get(command, b"")

    def advance(self, elapsed_s: float) -> bytes:
        self._since_keep_alive_s += elapsed_s
        if self._since_keep_alive_s > SILENT_AFTER_S:
            self._wave = self._numbers = False
        self._owed += elapsed_s * wire.SAMPLE_RATE_HZ
        n = int(self._owed + 1e-9)
        self._owed -= n
        return b"".join(self._sixtieth_of_a_second() for _ in range(n))

    def _sixtieth_of_a_second(self) -> bytes:
        self._sent += 1
        self._finger_s += 1 / wire.SAMPLE_RATE_HZ
        sent = b""
        if self._wave:
            sent += wire.frame_of(0xEB, 0x00, 0x03, self._sample(), 0x00)
        if self._numbers and self._sent % 60 == 0:
            worn = self.finger is not None and self._finger_s >= SEARCHING_S
            numbers = (self.finger.pulse_bpm, self.finger.spo2_percent) if self.finger and worn else NO_NUMBERS
            sent += wire.frame_of(0xEB, 0x01, 0x05, *numbers, 0x7F, 0x00)
        return sent

    def _sample(self) -> int:
        pleth = 0
        if self.finger is not None:
            self._beat = (self._beat + self.finger.pulse_bpm / 60 / wire.SAMPLE_RATE_HZ) % 1.0
            pleth = pulse_wave(self._beat)
        self.pleth_sent.append(pleth)
        return pleth
