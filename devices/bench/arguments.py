"""The command line of the bench tool, with help that teaches."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

DESCRIPTION = "Try a device on the bench: find it, see what it says, record it, play it back, simulate it."
EXAMPLES = """\
a new device on the table, step by step:
  python -m devices list                                     what is plugged in, and which drivers there are
  python -m devices identify /dev/serial/by-path/...         which of our drivers understands it
  python -m devices watch --port /dev/serial/by-path/...     its values, live; Ctrl-C ends
  python -m devices record contec_cms50_v7 --port ... --device "CMS50D+ 4.6" --display "SpO2 97, PR 65" o.capture.jsonl
  python -m devices replay o.capture.jsonl                   what the driver makes of the recording

without any device:
  python -m devices simulate contec_cms50_v7 --port ./oximeter
  python -m devices watch --port ./oximeter                  in a second terminal
"""


def parse(arguments: Sequence[str] | None, names: Iterable[str]) -> argparse.Namespace:
    """:param names: of the commands, in the order in which help shows them"""
    parser = argparse.ArgumentParser(
        prog="python -m devices",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="|".join(names))
    for name, add in _COMMANDS.items():
        command = commands.add_parser(name, help=_HELP[name][0], description=_HELP[name][1])
        command.add_argument("--json", action="store_true", help="one JSON object a line; the default when piped")
        add(command)
    return parser.parse_args(arguments)


_HELP = {
    "list": (
        "drivers and ports",
        "Every driver with what it measures, and every serial port with the path that stays when cables are pulled and "
        "put back: that path goes into the settings. Nothing is opened.",
    ),
    "identify": (
        "find out which device is on a port",
        "Opens the port, tries the drivers that its USB number speaks for (or those named with --as) for a few seconds "
        "each, and says which one understood its first frames. Only commands that our drivers may send are sent, and "
        "the port is left as it was. Ports that another program holds are not touched.",
    ),
    "watch": (
        "see what a device says, live",
        "Values, rates and counters, redrawn in place; piped or with --json one line for each event. Without a driver "
        "the device is identified first. Ctrl-C ends it, and the device is told to stop.",
    ),
    "record": (
        "keep what came over the wire",
        "As watch --json, and keeps the bytes as a capture: the beginning of every new driver. Write down what the "
        "device's own display showed meanwhile. A capture is never written over.",
    ),
    "replay": (
        "run a capture through its driver",
        "Prints what the driver makes of a recorded capture, then counters.",
    ),
    "decode": (
        "run bytes through a driver",
        "For bytes from a manual or a logic analyser, in hexadecimal. Garbage is counted, and no error.",
    ),
    "simulate": (
        "be a device",
        "A simulated device on a pseudo-terminal that any program can open as a serial port (--port), or behind a TCP "
        "port (--listen): byte for byte what the real one sends. DEVICE is a driver's name, or a capture to be played "
        "over and over.",
    ),
}


def _list(command: argparse.ArgumentParser) -> None:
    command.add_argument("--labels", type=Path, help="folder of labelled ports instead of /dev/xunzhen")


def _identify(command: argparse.ArgumentParser) -> None:
    command.add_argument("place", help="a port (/dev/serial/by-path/...), or host:port of gpsd")
    command.add_argument(
        "--as", dest="drivers", action="append", default=[], metavar="DRIVER", help="try only this one"
    )
    command.add_argument("--seconds", type=float, default=4.0, help="for each driver (default 4)")


def _live(command: argparse.ArgumentParser) -> None:
    command.add_argument("--port", default="", help="serial: /dev/serial/by-path/... or /dev/xunzhen/...")
    command.add_argument("--address", default="", help="Bluetooth: only this device; TCP: host or host:port")
    command.add_argument("--seconds", type=float, help="stop after so long")
    command.add_argument("--waves", action="store_true", help="with --json: print waveform samples too")
    command.add_argument("--show-personal", action="store_true", help="print what an identity card says")


def _watch(command: argparse.ArgumentParser) -> None:
    command.add_argument("driver", nargs="?", default="", help="see `list`; without it the port is identified first")
    _live(command)


def _record(command: argparse.ArgumentParser) -> None:
    command.add_argument("driver", help="see `list`")
    _live(command)
    command.add_argument("out", type=Path, help="a file that is not there yet, e.g. o.capture.jsonl")
    command.add_argument("--device", required=True, help="maker, model, firmware")
    command.add_argument("--display", required=True, help="what the device's display showed meanwhile")
    command.add_argument("--kind", choices=("real", "simulated"), default="real")


def _replay(command: argparse.ArgumentParser) -> None:
    command.add_argument("capture", type=Path)


def _decode(command: argparse.ArgumentParser) -> None:
    command.add_argument("driver", help="see `list`")
    command.add_argument("hex", nargs="+", help="bytes in hexadecimal; CHANNEL:HEX for Bluetooth")


def _simulate(command: argparse.ArgumentParser) -> None:
    command.add_argument("device", metavar="DEVICE", help="a driver's name, or a .capture.jsonl")
    command.add_argument("--port", type=Path, help="where the port appears, e.g. ./oximeter")
    command.add_argument("--listen", type=int, metavar="PORT", help="TCP port of this machine, for gpsd_gnss")
    command.add_argument("--seconds", type=float, help="stop after so long")


_COMMANDS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "list": _list,
    "identify": _identify,
    "watch": _watch,
    "record": _record,
    "replay": _replay,
    "decode": _decode,
    "simulate": _simulate,
}
