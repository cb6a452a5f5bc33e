"""What is plugged in, on the air and on the network becomes candidates; what is not ours is never touched."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devices import catalog
from devices.clock import SystemClock
from devices.discovery import (
    GPSD,
    LABELS,
    Candidate,
    Confidence,
    Evidence,
    Port,
    drivers_of_label,
    drivers_of_usb,
    of_advertisement,
    of_port,
    of_service,
    unused,
)
from devices.driver import SerialLine, full_uuid
from devices.serial_ports import Places, hid_devices, serial_ports, stable_paths, watch_ports
from devices.session import DeviceSettings
from devices.simulators.contec_cms50 import Cms50Twin
from devices.simulators.pty_port import PtyPort

RULES = Path(__file__).parents[2] / "hardware" / "udev"
WITHIN_S = 20.0
BLOOD_PRESSURE = full_uuid("1810")


def test_a_usb_id_that_a_driver_names_is_ours_and_listeners_are_tried_first() -> None:
    candidate = of_port(Port("/dev/serial/by-path/a", "/dev/ttyUSB0", "10c4:ea60", "CP2102", socket="1-3"))
    assert candidate.ours
    assert {"contec_8000g", "contec_cms50_v7"} <= set(candidate.drivers)
    assert candidate.confidence is Confidence.POSSIBLE
    assert [one.kind for one in candidate.evidence] == ["product", "usb", "socket"]
    writes = [bool(catalog.driver(driver)().allowed_writes) for driver in candidate.drivers]
    assert writes == sorted(writes)


@pytest.mark.parametrize("usb_id", ["", "dead:beef"])
def test_a_port_that_nothing_speaks_for_is_not_ours(usb_id: str) -> None:
    candidate = of_port(Port("/dev/ttyS0", "/dev/ttyS0", usb_id))
    assert (candidate.ours, candidate.drivers, candidate.confidence) == (False, (), Confidence.UNKNOWN)


def test_a_label_says_what_kind_it_is() -> None:
    candidate = of_port(Port("/dev/xunzhen/oximeter-2", "/dev/ttyUSB1", label="oximeter-2"))
    assert candidate.ours
    assert "contec_cms50_v7" in candidate.drivers
    assert "contec_8000g" not in candidate.drivers
    assert drivers_of_label("sam_id_card") == ("sam_id_card",)
    assert of_port(Port("/dev/xunzhen/kettle", "/dev/ttyUSB2", label="kettle")).ours is False


def test_every_label_and_usb_id_leads_to_a_serial_driver() -> None:
    assert all(drivers_of_label(label) for label in LABELS)
    named = {usb_id for driver in catalog.drivers() for usb_id in catalog.about(driver).usb_ids}
    assert named
    for usb_id in named:
        assert len(usb_id) == 9
        assert usb_id == usb_id.lower()
        assert drivers_of_usb(usb_id) or drivers_of_usb(usb_id, "hid")


def hid(folder: Path, name: str, **said: str) -> None:
    """A device as the kernel shows it below /sys/class/hidraw."""
    device = folder / name / "device"
    device.mkdir(parents=True)
    (device / "uevent").write_text("".join(f"{key}={value}\n" for key, value in said.items()))


def test_hid_devices_are_those_of_a_driver_never_a_keyboard(tmp_path: Path) -> None:
    hid(tmp_path, "hidraw0", DRIVER="hid-generic", HID_ID="0003:0000046D:0000C31C", HID_NAME="Logitech Keyboard")
    hid(tmp_path, "hidraw1", HID_ID="0003:00000483:00005750", HID_NAME="CONTEC ECG90A", HID_UNIQ="7A01")
    hid(tmp_path, "hidraw2", HID_ID="0005:00000483:00005750", HID_NAME="on the air")
    hid(tmp_path, "hidraw3", DRIVER="no number")
    (tmp_path / "hidraw4").mkdir()
    keyboard, ecg = hid_devices(Places(tmp_path / "labels", (), tmp_path))
    assert not of_port(keyboard).ours
    assert (ecg.device, ecg.usb_id, ecg.product, ecg.serial_number) == (
        "/dev/hidraw1",
        "0483:5750",
        "CONTEC ECG90A",
        "7A01",
    )
    candidate = of_port(ecg)
    assert (candidate.transport, candidate.ours) == ("hid", True)
    assert set(candidate.drivers) == {"contec_ecg90a", "contec_08a"}
    device = candidate.settings("ecg-1", "contec_ecg90a")
    assert (device.link, device.port) == ("hid", "/dev/hidraw1")
    assert unused([candidate], [device]) == []
    assert hid_devices(Places(tmp_path / "labels", (), tmp_path / "nowhere")) == []


def test_on_the_air_a_service_is_likelier_than_a_name_and_strangers_are_none() -> None:
    cuff = of_advertisement("AA:BB:CC:DD:EE:01", "A&D_UA-651BLE", [BLOOD_PRESSURE])
    assert cuff is not None
    assert cuff.drivers == ("bluetooth_blood_pressure",)
    assert cuff.confidence is Confidence.LIKELY
    assert Evidence("service", "1810") in cuff.evidence
    assert of_advertisement("AA:BB:CC:DD:EE:02", "Living room TV", [full_uuid("FEAA")]) is None


def test_gpsd_that_announces_itself_is_a_candidate_and_a_camera_is_none() -> None:
    found = of_service(GPSD, "gpsd on van", "10.0.0.5", 2947)
    assert found is not None
    assert (found.transport, found.address, found.drivers) == ("tcp", "10.0.0.5:2947", ("gpsd_gnss",))
    assert of_service("camera", "ultrasound", "10.0.0.6", 554) is None


def test_what_is_a_device_already_is_no_candidate_by_whatever_name() -> None:
    devices = [
        DeviceSettings(name="ecg-1", driver="contec_8000g", link="serial", port="/dev/xunzhen/ecg"),
        DeviceSettings(name="cuff-1", driver="bluetooth_blood_pressure", link="bluetooth", address="AA:BB:CC:DD:EE:01"),
    ]
    ports = [
        of_port(Port("/dev/serial/by-path/a", "/dev/ttyUSB0", "10c4:ea60")),
        of_port(Port("/dev/serial/by-path/b", "/dev/ttyUSB1", "10c4:ea60")),
    ]
    cuffs = [of_advertisement(f"aa:bb:cc:dd:ee:0{n}", "", [BLOOD_PRESSURE]) for n in (1, 2)]
    names = {"/dev/xunzhen/ecg": "/dev/ttyUSB0"}
    left = unused([*ports, *filter(None, cuffs)], devices, lambda path: names.get(path, path))
    assert [one.address for one in left] == ["aa:bb:cc:dd:ee:02", "/dev/serial/by-path/b"]


def test_a_candidate_becomes_a_device() -> None:
    serial = Candidate("serial", "/dev/x").settings("ecg-1", "contec_8000g", "车尾心电")
    assert (serial.port, serial.title) == ("/dev/x", "车尾心电")
    tcp = Candidate("tcp", "127.0.0.1:2947").settings("gnss-1", "gpsd_gnss")
    assert (tcp.link, tcp.address) == ("tcp", "127.0.0.1:2947")


def test_names_that_stay_by_path_first_and_two_equal_adapters_apart(tmp_path: Path) -> None:
    """Two cables with the serial number "0001": by-id has one name for both, by-path two."""
    by_path, by_id = tmp_path / "by-path", tmp_path / "by-id"
    ends = [os.openpty() for _ in range(2)]
    ttys = [os.ttyname(slave) for _, slave in ends]
    for folder in (by_path, by_id):
        folder.mkdir()
    (by_id / "usb-Silicon_Labs_CP2102_0001-if00-port0").symlink_to(ttys[1])
    for n, tty in enumerate(ttys):
        (by_path / f"pci-0000:00:14.0-usb-0:{n + 3}:1.0-port0").symlink_to(tty)
    assert [Path(path).parent.name for path in stable_paths((by_path, by_id)).values()] == ["by-path", "by-path"]
    assert len(set(stable_paths((by_path, by_id)).values())) == 2
    for master, slave in ends:
        os.close(master)
        os.close(slave)


def test_labels_are_links_to_terminals_only(tmp_path: Path) -> None:
    (tmp_path / "bluetooth").mkdir()
    (tmp_path / "notes").write_text("no port")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert not [port for port in serial_ports(Places(tmp_path)) if port.label]


async def test_a_port_that_comes_and_goes_is_told(tmp_path: Path) -> None:
    port = PtyPort(tmp_path / "oximeter", Cms50Twin(), SystemClock())
    told: list[list[str]] = []
    news = asyncio.Event()

    def changed(ports: list[Port]) -> None:
        told.append([one.label for one in ports if one.label])
        news.set()

    async def until(labels: list[str]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not told or told[-1] != labels:
                news.clear()
                await news.wait()

    watching = asyncio.create_task(watch_ports(SystemClock(), changed, Places(tmp_path, ())))
    await until([])
    port.attach()
    await until(["oximeter"])
    port.detach()
    await until([])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_the_kernel_s_own_news_wake_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real uevent of a real tty, as a plug makes it; only the time between two looks is taken away."""
    from devices import serial_ports as watched

    uevent = Path("/sys/class/tty/tty0/uevent")
    if not os.access(uevent, os.W_OK) or watched.UDEVD.exists():
        pytest.skip("skipped: needs to be root, without udevd")
    with watched._plugged() as plugged:
        assert not plugged.is_set()
        await asyncio.to_thread(uevent.write_text, "change")
        async with asyncio.timeout(WITHIN_S):
            await plugged.wait()


@pytest.mark.parametrize("name", sorted(path.name for path in RULES.glob("*.rules")))
def test_the_shipped_udev_rules_are_rules(name: str) -> None:
    """As udevadm verify judges them where it can (systemd 254), else line by line."""
    udevadm = shutil.which("udevadm")
    if udevadm and int(subprocess.check_output([udevadm, "--version"])) >= 254:
        subprocess.run([udevadm, "verify", "--no-style", str(RULES / name)], check=True)
    keys = {"ACTION", "SUBSYSTEM", "SUBSYSTEMS", "ENV", "ATTR", "ATTRS", "TEST", "GOTO", "LABEL", "SYMLINK", "RUN"}
    keys |= {"GROUP", "IMPORT", "MODE", "KERNEL", "TAG"}
    jumps, labels = set(), set()
    for line in (RULES / name).read_text(encoding="utf-8").splitlines():
        line = line.lstrip("# ") if line.startswith("# SUBSYSTEM") else line
        if not line or line.startswith("#"):
            continue
        for part in line.split(", "):
            key, operator, value = _parsed(part)
            assert key.partition("{")[0] in keys, part
            assert operator in ("==", "!=", "=", "+="), part
            jumps |= {value} if key == "GOTO" else set()
            labels |= {value} if key == "LABEL" else set()
    assert jumps == labels


def _parsed(part: str) -> tuple[str, str, str]:
    key = part.split("=")[0].rstrip("!+")
    operator, _, rest = part[len(key) :].partition('"')
    assert rest.endswith('"'), part
    assert '"' not in rest[:-1], part
    return key, operator, rest[:-1]


def test_modem_manager_is_kept_off_every_adapter_that_our_drivers_name() -> None:
    rules = (RULES / "60-xunzhen.rules").read_text(encoding="utf-8")
    abouts = [catalog.about(driver) for driver in catalog.drivers()]
    for usb_id in {usb_id for about in abouts if about.lines(SerialLine) for usb_id in about.usb_ids}:
        vendor, product = usb_id.split(":")
        (line,) = [
            line
            for line in rules.splitlines()
            if f'ATTR{{idVendor}}=="{vendor}"' in line and f'ATTR{{idProduct}}=="{product}"' in line
        ]
        assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in line
