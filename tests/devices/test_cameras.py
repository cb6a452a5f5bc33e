"""Cameras by what Linux tells of them, on a made tree of /sys and /dev."""

from __future__ import annotations

from pathlib import Path

from devices.cameras import Camera, CameraPlaces, cameras


def plug(
    root: Path, number: int, name: str, socket: str, usb_id: str = "", index: int = 0, linked: bool = True
) -> None:
    """A video device as the kernel shows it; its USB interface is a folder of the USB device's."""
    places = CameraPlaces(root / "class", root / "by-path", root / "dev")
    usb = root / "devices" / socket
    interface = usb / f"{socket}:1.0"
    folder = places.classes / f"video{number}"
    for one in (interface, folder, places.stable, places.devices):
        one.mkdir(parents=True, exist_ok=True)
    if usb_id:
        vendor, product = usb_id.split(":")
        (usb / "idVendor").write_text(f"{vendor}\n")
        (usb / "idProduct").write_text(f"{product}\n")
    (folder / "name").write_text(f"{name}\n")
    (folder / "index").write_text(f"{index}\n")
    (folder / "device").symlink_to(interface)
    (places.devices / f"video{number}").touch()
    if linked:
        link = places.stable / f"pci-0000:00:14.0-usb-0:{socket}:1.0-video-index{index}"
        link.symlink_to(places.devices / f"video{number}")


def seen(root: Path) -> list[Camera]:
    return cameras(CameraPlaces(root / "class", root / "by-path", root / "dev"))


def test_two_equal_cards_are_told_apart_by_socket_and_their_metadata_is_no_camera(tmp_path: Path) -> None:
    for number, socket in ((0, "1-1"), (2, "1-4")):
        plug(tmp_path, number, "USB Video", socket, "534d:2109")
        plug(tmp_path, number + 1, "USB Video", socket, "534d:2109", index=1)
    found = seen(tmp_path)
    assert [(camera.socket, camera.usb_id, camera.name) for camera in found] == [
        ("1-1", "534d:2109", "USB Video"),
        ("1-4", "534d:2109", "USB Video"),
    ]
    assert [Path(camera.path).resolve() for camera in found] == [tmp_path / "dev/video0", tmp_path / "dev/video2"]
    assert all("by-path" in camera.path for camera in found)


def test_a_camera_without_udev_or_usb_is_there_under_its_own_name(tmp_path: Path) -> None:
    plug(tmp_path, 7, "", "pci-card", linked=False)
    device = str(tmp_path / "dev/video7")
    assert seen(tmp_path) == [Camera(device, device, "", "", "")]


def test_a_computer_without_video_has_no_camera(tmp_path: Path) -> None:
    assert seen(tmp_path) == []
