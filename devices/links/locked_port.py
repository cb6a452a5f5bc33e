"""A file of the kernel's that is a device (/dev/hidraw0, /dev/usb/lp0), opened for one of us alone."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

from devices.links.serial_link import PortAbsent, PortBusy, PortRefused

GONE = (errno.ENODEV, errno.EIO, errno.ENXIO, errno.ENOENT, errno.EPIPE)
"""What the kernel says of a device that is pulled out."""


def open_device(path: str) -> int:
    """A descriptor to read and write without waiting. :raises OSError: as open(2)"""
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def open_locked(path: str, opener: Callable[[str], int] = open_device) -> int:
    """A descriptor that nobody else of ours has: the kernel lets any number of programs open such a device.

    :raises PortAbsent: it is not there.
    :raises PortBusy: another program has it.
    :raises PortRefused: it may not be opened.
    """
    try:
        descriptor = opener(path)
    except OSError as fault:
        raise _refused(path, fault) from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(descriptor)
        raise _refused(path, fault) from fault
    return descriptor


def _refused(path: str, fault: OSError) -> PortAbsent | PortBusy | PortRefused:
    if fault.errno in GONE:
        return PortAbsent(f"{path} is not there")
    if isinstance(fault, BlockingIOError) or fault.errno == errno.EBUSY:
        return PortBusy(f"{path} is held by another program")
    return PortRefused(f"{path} cannot be opened: {fault}; is the udev rule in place?")
