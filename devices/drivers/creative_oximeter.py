"""Creative (科瑞康) and Lepu finger oximeters of the ``AA 55`` family, over Bluetooth.

Models: PC-60FW and its relatives (PC-60NW-1, PC-60B, POD-1W, POD-2B, PF-10, PF-20, S5W, S6W, S7W, OxySmart) on the
Nordic UART; AP-20 and AP-10 on service FFB0. Both services are used by other makers too, so the name decides.

Packets: see ``devices.aa55``. Token 0F is the oximeter, F0 the device:

======  ============================================================================================================
0F 01   once a second: SpO2, pulse u16 LE (0: none), perfusion x 10, status 1 (b1 probe off, b2 searching, b3 probe
        fault, b6-7 00 adult 01 baby), status 2 (b6-7 battery 0-3)
0F 02   five samples of the pleth at 50 Hz (b7 beat, b0-6 0 to 127)
0F 21   what the device is doing (spot check, continuous, menu); read over
F0 01   version: two bytes BCD software, one hardware, the name in ASCII
F0 02   serial number in ASCII
F0 03   battery 0-3
======  ============================================================================================================

Host: F0 81 and F0 82 ask for version and serial number, 0F 84 and 0F 85 switch parameters and wave on (the PC-60FW
sends them anyway, the AP-20 waits for it). Never sent: 0F 87 (clock), 0F 92 (alarm limits), F0 85 (backlight), F0 C2.

Limits: the AP-20's respiration (token 2D) is not switched on; stored nights are not read.
Source: "AP-20 Bluetooth Protocol" (pmenke-de/lepu-public-integration, Apache-2.0); viatomEcho/LepuBle (facts only).
Not tested on hardware.
"""

from __future__ import annotations

from typing import ClassVar

from devices.aa55 import Packet, PacketFramer, battery_percent, bcd_version, packet, parameters_of
from devices.checked_oximeter import CheckedOximeter
from devices.driver import About, Counters, GattUse, Metric, Output, Write
from devices.framing import Spoiled
from devices.identity import Identity
from devices.nomenclature import metrics
from devices.readings import DeviceState, Event, Link, Sensor

OXIMETER, DEVICE = 0x0F, 0xF0
PARAMETERS, WAVE = 0x01, 0x02
VERSION, SERIAL_NUMBER, BATTERY = 0x01, 0x02, 0x03

ASK_VERSION, ASK_SERIAL_NUMBER = packet(DEVICE, 0x81), packet(DEVICE, 0x82)
PARAMETERS_ON, WAVE_ON = packet(OXIMETER, 0x84, b"\x01"), packet(OXIMETER, 0x85, b"\x01")
PAUSE_S = 0.05

SAMPLE_RATE_HZ = 50.0
SAMPLES_PER_PACKET = 5
WAVE_PACKET_BYTES = 11

NORDIC_UART = GattUse(
    service="6E400001-B5A3-F393-E0A9-E50E24DCCA9E",
    subscribe=("6E400003-B5A3-F393-E0A9-E50E24DCCA9E",),
    write="6E400002-B5A3-F393-E0A9-E50E24DCCA9E",
    names=(
        "PC-60F",
        "PC-60NW-1",
        "PC-60B",
        "KS-60FW",
        "POD-1",
        "POD-2B",
        "PF-10",
        "PF-20",
        "S5W",
        "S6W",
        "S7W",
        "S7BW",
        "OxySmart",
    ),
    shared_service=True,
    bond=False,
)
FFB0 = GattUse(
    service="FFB0", subscribe=("FFB2",), write="FFB2", names=("AP-20", "AP-10"), shared_service=True, bond=False
)


class Driver:
    about: ClassVar[About] = About(
        title_zh="科瑞康蓝牙血氧仪",
        title_en="Creative Bluetooth oximeter",
        models=("PC-60FW", "PC-60NW-1", "PC-60B", "POD-1W", "POD-2B", "PF-10", "PF-20", "OxySmart", "AP-20", "AP-10"),
        metrics=(
            *metrics("pulse_oximetry", "spo2_percent", "pulse_bpm", "perfusion_index_percent"),
            Metric("pleth", mdc=None, loinc=None, ucum="1", sample_rate_hz=SAMPLE_RATE_HZ),
        ),
        line=(NORDIC_UART, FFB0),
        source="vendor document AP-20 Bluetooth Protocol; hardware/protocols/creative_aa55.md",
        lost_after_s=3.0,
    )
    allowed_writes: ClassVar[tuple[bytes, ...]] = (ASK_VERSION, ASK_SERIAL_NUMBER, PARAMETERS_ON, WAVE_ON)

    def __init__(self) -> None:
        self.counters = Counters()
        self.identity: Identity | None = None
        self._framer = PacketFramer(self.counters)
        self._oximeter = CheckedOximeter(SAMPLE_RATE_HZ, SAMPLES_PER_PACKET, WAVE_PACKET_BYTES, self.counters)
        self._begin()

    def _begin(self) -> None:
        self._framer.reset()
        self._oximeter.begin()
        self._battery_percent: int | None = None
        self._told: tuple[Sensor, int | None] | None = None
        self._version = ("", "")
        self._serial_number = ""
        self._quiet = False
        self.identity = None

    def open(self) -> Output:
        self._begin()
        asked = (ASK_VERSION, ASK_SERIAL_NUMBER, PARAMETERS_ON, WAVE_ON)
        return Output(writes=[Write(command, after_s=PAUSE_S) for command in asked])

    def close(self) -> Output:
        self._framer.reset()
        output = Output()
        self._oximeter.withdraw(output.events)
        return output

    def feed(self, chunk: bytes, channel: str = "") -> Output:
        output = Output()
        for piece in self._framer.feed(chunk):
            if isinstance(piece, Spoiled):
                self._oximeter.spoiled(piece.n_bytes, output.events)
            else:
                self._take(piece, output.events)
        self._quiet = self._quiet and not chunk
        return output

    def tick(self, elapsed_s: float) -> Output:
        output = Output()
        if self._quiet:
            self._oximeter.publish_wave(output.events)
        self._quiet = True
        self._framer.tick(elapsed_s)
        self._oximeter.tick(elapsed_s, output.events)
        return output

    def _take(self, said: Packet, events: list[Event]) -> None:
        match said.token, said.type:
            case (0x0F, 0x01):
                self._on_parameters(said.data, events)
            case (0x0F, 0x02):
                self._oximeter.wave(said.data[:SAMPLES_PER_PACKET], events)
            case (0xF0, 0x01) if len(said.data) >= 3:
                name = said.data[3:].decode("ascii", "replace")
                self._identify(version=(bcd_version(*said.data[:2]), name))
            case (0xF0, 0x02):
                self._identify(serial_number=said.data.decode("ascii", "replace"))
            case (0xF0, 0x03) if said.data:
                self._battery_percent = battery_percent(said.data[0])

    def _on_parameters(self, data: bytes, events: list[Event]) -> None:
        said = parameters_of(data)
        if said is None:
            return
        if len(data) > 5:
            self._battery_percent = battery_percent(data[5] >> 6)
        told = (said.sensor, self._battery_percent)
        if told != self._told:
            self._told = told
            fault = "probe_faulty" if said.sensor is Sensor.ERROR else None
            events.append(DeviceState(Link.CONNECTED, said.sensor, battery_percent=self._battery_percent, fault=fault))
        self._oximeter.parameters(said, events)

    def _identify(self, version: tuple[str, str] | None = None, serial_number: str | None = None) -> None:
        self._version = version or self._version
        self._serial_number = serial_number or self._serial_number
        firmware, model = self._version
        self.identity = Identity("Creative", model, self._serial_number, firmware)
