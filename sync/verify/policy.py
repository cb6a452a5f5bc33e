"""Whom a verifier trusts: C2SP tlog-policy. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sync.formats import ed25519
from sync.formats.notes import ED25519, ED25519_COSIGNATURE, NoteRefused, VerifierKey
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import NotProven

LARGEST_POLICY_BYTES = 64 * 1024
MOST_OF_EACH = 100
_OCTETS = re.compile(rb"[\x09\x0a\x20-\x7e\x80-\xff]*")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Group:
    """Cosigns when at least ``least`` of its members do."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """:ivar witnesses: cosigners' keys by the names that the policy gives them
    :ivar quorum: name of a witness or group; None when no cosignature is wanted
    """

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, Group]
    quorum: str | None

    def satisfied_by(self, cosigned: Collection[str]) -> bool:
        """Whether the witnesses named in ``cosigned`` are enough."""
        return self.quorum is None or self._has(self.quorum, cosigned)

    def _has(self, name: str, cosigned: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._has(member, cosigned) for member in group.members) >= group.least

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """:raises BundleUnreadable: policy_unreadable, with the number of the line
        :raises NotProven: key_in_two_roles
        """
        if len(data) > LARGEST_POLICY_BYTES or not _OCTETS.fullmatch(data):
            raise BundleUnreadable("policy_unreadable", "not a policy file: too large, or with control characters")
        reader = _Reader()
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
            items = re.split("[ \t]+", line.strip(" \t"))
            if items[0] and not items[0].startswith("#"):
                try:
                    reader.read(items)
                except (ValueError, KeyError) as fault:
                    raise BundleUnreadable("policy_unreadable", f"line {number}: {fault}") from None
        return reader.policy()


class _Reader:
    """What the lines read so far have defined."""

    def __init__(self) -> None:
        self.logs: dict[bytes, VerifierKey] = {}
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, Group] = {}
        self.used: set[str] = set()
        self.quorums: list[str] = []

    def read(self, items: list[str]) -> None:
        """:raises ValueError: what is wrong with the line"""
        readers: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if items[0] not in readers:
            raise ValueError(f"{items[0][:30]!r} is none of log, witness, group, quorum")
        readers[items[0]](items[1:])
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MOST_OF_EACH:
            raise ValueError(f"more than {MOST_OF_EACH} lines of one sort")

    def _log(self, items: list[str]) -> None:
        if not 1 <= len(items) <= 2:
            raise ValueError("a log is 'log <vkey> [<url>]'")
        key = _key(items[0], ED25519)
        if key.public_key in self.logs:
            raise ValueError("a second log with the same key")
        self.logs[key.public_key] = key

    def _witness(self, items: list[str]) -> None:
        if not 2 <= len(items) <= 3:
            raise ValueError("a witness is 'witness <name> <vkey> [<url>]'")
        self._new_name(items[0])
        key = _key(items[1], ED25519_COSIGNATURE)
        if any(key.public_key == other.public_key for other in self.witnesses.values()):
            raise ValueError("a second witness with the same key")
        self.witnesses[items[0]] = key

    def _group(self, items: list[str]) -> None:
        if len(items) < 3:
            raise ValueError("a group is 'group <name> all|any|<k> <member>...'")
        name, wanted, *members = items
        self._new_name(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise ValueError(f"{member!r} is not defined on an earlier line")
            if member in self.used:
                raise ValueError(f"{member!r} is a member already")
            self.used.add(member)
        numbered = int(wanted) if _NUMBER.fullmatch(wanted) else 0
        least = {"any": 1, "all": len(members)}.get(wanted, numbered)
        if not 1 <= least <= len(members):
            raise ValueError(f"{wanted!r} is neither all, any nor a number from 1 to {len(members)}")
        self.groups[name] = Group(least, tuple(members))

    def _quorum(self, items: list[str]) -> None:
        if len(items) != 1 or self.quorums:
            raise ValueError("exactly one line 'quorum <name>'")
        if items[0] != "none" and items[0] not in self.witnesses and items[0] not in self.groups:
            raise ValueError(f"{items[0]!r} is not defined on an earlier line")
        self.quorums.append(items[0])

    def _new_name(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise ValueError(f"the name {name!r} is taken")

    def policy(self) -> Policy:
        if not self.logs or not self.quorums:
            raise BundleUnreadable("policy_unreadable", "a policy has at least one log line and one quorum line")
        for name, key in self.witnesses.items():
            if key.public_key in self.logs:
                raise NotProven("key_in_two_roles", f"the policy has one key as a log and as the witness {name}")
        quorum = None if self.quorums == ["none"] else self.quorums[0]
        return Policy(tuple(self.logs.values()), self.witnesses, self.groups, quorum)


def _key(text: str, algorithm: int) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except (NoteRefused, UnicodeEncodeError) as fault:
        raise ValueError(str(fault)) from None
    if key.algorithm != algorithm:
        raise ValueError(f"the key of {key.name} has signature type {key.algorithm}, not {algorithm}")
    if not ed25519.is_sound_key(key.public_key):
        raise ValueError(f"the key of {key.name} is no point of Ed25519, or one of small order")
    return key
