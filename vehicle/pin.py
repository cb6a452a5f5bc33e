"""``python -m vehicle.pin``: asks for a PIN twice and prints its hash for the settings. The PIN is shown nowhere."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable

from argon2 import PasswordHasher

PIN = re.compile(r"[0-9]{4,12}")


def hash_asked_for(ask: Callable[[str], str]) -> str:
    """The argon2id hash of a PIN typed twice.

    :raises ValueError: not 4 to 12 digits, or the two differ
    """
    pin = ask("PIN (4 to 12 digits): ")
    if not PIN.fullmatch(pin):
        raise ValueError("a PIN has 4 to 12 digits")
    if ask("again: ") != pin:
        raise ValueError("the two differ: start again")
    return PasswordHasher().hash(pin)


def main() -> int:
    try:
        print(hash_asked_for(getpass.getpass))
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
