"""``python -m vehicle --settings FILE``: the vehicle process; ``vehicle.process`` says what it does.

This file only makes the start quick: the first page is to be there within 2 s of a power cut's end.
"""

from __future__ import annotations

import gc
import importlib
import sys


def main() -> int:
    """Import the program without what it does not need, then run it."""
    # httpx loads its command line (rich, pygments) when these happen to be installed: a tenth of our start for nothing.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    # What importing makes stays for ever: looking through it for garbage, again and again, is wasted time.
    gc.disable()
    process = importlib.import_module("vehicle.process")
    gc.freeze()
    gc.enable()
    code: int = process.main()
    return code


if __name__ == "__main__":
    sys.exit(main())
