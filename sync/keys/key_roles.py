"""One key, one role. An Ed25519 cosignature does not say in which role it was made, so a key that serves as county and
as province, or as registry and as vehicle, would let one person sign for two. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from devices.errors import AskPerson
from sync.formats.notes import VerifierKey


class KeyInTwoRoles(AskPerson):
    """Two roles have the same key; the message names both."""

    code = "key_in_two_roles"


def refuse_shared_keys(roles: Iterable[tuple[str, VerifierKey]]) -> None:
    """:param roles: (role in words, its key)
    :raises KeyInTwoRoles: two of them have the same 32 bytes, whatever their names and algorithms
    """
    seen: dict[bytes, str] = {}
    for role, key in roles:
        other = seen.setdefault(key.public_key, role)
        if other != role:
            raise KeyInTwoRoles(
                f"{other} and {role} have the same key ({key.name}): "
                "make a new key for one of them; each role needs a key of its own"
            )
