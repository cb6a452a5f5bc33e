"""Kernel and first file system of the BlueZ appliance, made of Debian packages and kept in a cache outside the tree.

The kernel is whatever package ``linux-image-amd64`` depends on today. The initrd holds the modules that Bluetooth, SMP
and the virtual machine need, a static busybox and the guest's first program; the rest comes at run time, read only,
from this folder and from this machine's /usr. A new kernel, a new busybox or a change in this file or in the guest's
first program makes a new image.
"""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INIT = HERE / "guest_init.sh"
METAPACKAGE = "linux-image-amd64"
DOWNLOAD_LIMIT_S = 600.0

MODULES = (
    # SMP draws its keys from the kernel's DRBG, which wants its jitter source first.
    *("sha3_generic", "jitterentropy_rng", "sha512_generic", "sha256_generic", "hmac", "drbg", "ecdh_generic"),
    # A static random address and the keys in bluetoothd: AES-CMAC and AES-ECB, also through AF_ALG.
    *("cmac", "ecb", "ctr", "algif_skcipher", "algif_hash"),
    *("virtio_pci", "virtio_rng", "virtio_net", "9pnet_virtio", "9p"),
    "hci_vhci",
)
"""In the order of loading; what a kernel has built in is passed over."""

SUBTREES = ("arch", "crypto", "drivers/bluetooth", "drivers/char", "drivers/net", "drivers/virtio", "fs", "lib", "net")
"""Of lib/modules/*/kernel: where those and what they depend on live."""

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "/usr/libexec/bluetooth/bluetoothd": "bluez",
    "dbus-daemon": "dbus",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "modprobe": "kmod",
    "apt-get": "apt",
}
"""Program -> its Debian package."""


class ApplianceMissing(Exception):
    """The appliance cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Image:
    kernel: Path
    initrd: Path


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xunzhen" / "bluez-appliance"


def find_image(cache: Path) -> Image:
    """The image of the kernel that is current here; made when it is not in ``cache``, which takes a minute.

    :raises ApplianceMissing: another processor, a package that is not installed, no kernel to download.
    """
    if os.uname().machine != "x86_64":
        raise ApplianceMissing(f"the appliance is made for x86_64, this is {os.uname().machine}")
    for program, package in PROGRAMS.items():
        if _program(program) is None:
            raise ApplianceMissing(f"{program} is not installed (package {package})")
    package, version = _current_kernel()
    folder = cache / f"{package}_{version}_{_recipe()}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                made = _make(package, Path(scratch))
                _drop_older(cache)
                made.rename(folder)
    return Image(folder / "vmlinuz", folder / "initrd")


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _run(*command: str, cwd: Path | None = None, stdin: bytes | None = None) -> bytes:
    """Standard output.

    :raises ApplianceMissing: it ended with an error, or did not end.
    """
    environment = os.environ | {"LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            command, cwd=cwd, input=stdin, capture_output=True, env=environment, timeout=DOWNLOAD_LIMIT_S, check=True
        )
    except subprocess.CalledProcessError as failure:
        said = failure.stderr.decode(errors="replace").strip().splitlines()
        raise ApplianceMissing(f"{command[0]} ended with status {failure.returncode}: {said[-1:]}") from failure
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise ApplianceMissing(str(failure)) from failure
    return done.stdout


def _current_kernel() -> tuple[str, str]:
    """(package, version) that the metapackage stands for."""
    shown = _run("apt-cache", "show", "--no-all-versions", METAPACKAGE).decode()
    found = re.search(rf"^Depends:.*?({METAPACKAGE[:12]}[0-9]\S*) \(= ([^)]+)\)", shown, re.MULTILINE)
    if found is None:
        raise ApplianceMissing(f"{METAPACKAGE} names no kernel package; apt-get update may help")
    return found[1], found[2]


def _recipe() -> str:
    parts = (Path(__file__), INIT, Path(_program("busybox") or ""))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def _make(package: str, scratch: Path) -> Path:
    """A folder in ``scratch`` with vmlinuz and initrd."""
    _run("apt-get", "download", package, cwd=scratch)
    unpacked = scratch / "unpacked"
    _unpack(next(scratch.glob("*.deb")), unpacked)
    version = next((unpacked / "lib/modules").iterdir()).name
    made = scratch / "image"
    made.mkdir()
    next((unpacked / "boot").glob("vmlinuz-*")).rename(made / "vmlinuz")
    root = scratch / "root"
    _fill_root(root, _module_files(unpacked, version))
    names = b"\n".join(bytes(path.relative_to(root)) for path in root.rglob("*"))
    (made / "initrd").write_bytes(_run("cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0", cwd=root, stdin=names))
    return made


def _unpack(archive: Path, folder: Path) -> None:
    """The kernel and the modules of ``SUBTREES``."""
    folder.mkdir()
    wanted = [f"./lib/modules/*/kernel/{subtree}/*" for subtree in SUBTREES]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as files:
        subprocess.run(
            ["tar", "-x", "-C", str(folder), "--wildcards", "./boot/vmlinuz*", "./lib/modules/*/modules.*", *wanted],
            stdin=files.stdout,
            stderr=subprocess.DEVNULL,
            check=False,  # a pattern without a file is an error to tar; what is missing shows below
        )
    if not list(folder.glob("boot/vmlinuz-*")):
        raise ApplianceMissing(f"{archive.name} holds no kernel")


def _module_files(unpacked: Path, version: str) -> list[Path]:
    """Every module with what it needs before it, in the order of loading."""
    _run("depmod", "-b", str(unpacked), version)
    files: dict[Path, None] = {}
    for module in MODULES:
        lines = _run("modprobe", "-d", str(unpacked), "-S", version, "--show-depends", module).decode().splitlines()
        files.update((Path(line.split()[1]), None) for line in lines if line.startswith("insmod"))
    return list(files)


def _fill_root(root: Path, modules: Iterable[Path]) -> None:
    (root / "modules").mkdir(parents=True)
    order = []
    for module in modules:
        code = module.read_bytes()
        name = module.name.removesuffix(".xz")
        (root / "modules" / name).write_bytes(lzma.decompress(code) if module.suffix == ".xz" else code)
        order.append(name)
    (root / "modules/order").write_text("\n".join(order) + "\n")
    shutil.copy(_program("busybox") or "", root / "busybox")
    shutil.copy(INIT, root / "init")
    (root / "init").chmod(0o755)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("usr", "guest", "proc", "sys", "dev", "run", "tmp", "etc", "var/lib/bluetooth"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")


def _drop_older(cache: Path) -> None:
    for other in cache.glob("linux-image-*"):
        shutil.rmtree(other, ignore_errors=True)
