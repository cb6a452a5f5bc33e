"""The bench tool: ``python -m devices list | identify | watch | record | replay | decode | simulate``."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Sequence

from devices.bench import commands
from devices.bench.arguments import parse
from devices.bench.simulate import simulate
from devices.errors import AskPerson

RUN = {
    "list": commands.list_all,
    "identify": commands.identify_place,
    "watch": commands.watch,
    "record": commands.record,
    "replay": commands.replay,
    "decode": commands.decode,
    "simulate": simulate,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 2 when a person has to do something first; stderr says what."""
    wanted = parse(arguments, RUN)
    level = logging.INFO if wanted.json or not sys.stderr.isatty() else logging.ERROR
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=level)
    try:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            RUN[wanted.command](wanted)
    except AskPerson as refusal:
        if commands.plain(wanted):
            print(json.dumps({"error": refusal.code, "message": str(refusal)}, ensure_ascii=False), file=sys.stderr)
        else:
            print(f"{wanted.command}: {refusal}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
