"""``python -m vehicle.voice zh``: make the clips of our pack anew; ``... FOLDER``: those of another pack's manifest.

``python -m vehicle.voice check FOLDER``: read a county's pack as the van would, and say what is wrong with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devices.errors import AskPerson
from vehicle.voice.numbers import clips_needed
from vehicle.voice.packs import read_pack
from vehicle.voice.voice import OURS


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m vehicle.voice", description=__doc__)
    options.add_argument("what", help='language of ours to make ("zh", "en"), or "check"')
    options.add_argument("folder", nargs="?", type=Path, help="of the pack")
    chosen = options.parse_args()
    try:
        print(_check(chosen.folder) if chosen.what == "check" else _make(chosen.what, chosen.folder))
    except AskPerson as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


def _make(language: str, folder: Path | None) -> str:
    from vehicle.voice.make import make  # loads FFmpeg

    where = folder or OURS / language
    return f"{make(where, language)} clips in {where}"


def _check(folder: Path | None) -> str:
    pack = read_pack(folder or Path())
    lacks = sorted(clips_needed(pack.counting) - pack.clips.keys())
    said = f"{pack.title} ({pack.language}), {len(pack.clips)} clips, {pack.speaker}, {pack.licence}"
    return f"{said}; numbers in Mandarin for want of {', '.join(lacks)}" if lacks else said


if __name__ == "__main__":
    sys.exit(main())
