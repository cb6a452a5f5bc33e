"""Evidence bundles: parts of logs that can be checked against their signed checkpoints. Pure. docs/evidence.md.

A ``LogPart`` shows some entries of a log verbatim and, for everything else below its largest checkpoint, hashes of
complete subtrees. ``PartialTree`` recomputes from them the root of every checkpoint: inclusion and consistency in one.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sync.formats import canonical
from sync.formats.merkle import EMPTY_ROOT, HASH_BYTES, complete_subtrees, leaf_hash, node_hash
from sync.formats.notes import NoteRefused, b64, unb64
from sync.formats.records import LARGEST_BODY_BYTES
from sync.proof.bundle_file import BundleUnreadable, read_members, write_members

FORMAT = "xunzhen-evidence/1"
MOST_VISITS = 100
MOST_LINES = 50_000
HIGHEST_LEVEL = 62

_ORIGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SINGLE = ("manifest.json", "registry/checkpoint", "registry/rules-checkpoint", "registry/entries", "registry/tree")
_MEMBER = re.compile(r"journal/([A-Za-z0-9][A-Za-z0-9._-]{0,99})/(entries|tree|checkpoints/([1-9][0-9]{0,15}))")
_LINE = re.compile(r"(0|[1-9][0-9]?) (0|[1-9][0-9]{0,18}) ([A-Za-z0-9+/]{43}=)")
_PLACE = re.compile(rb'[{,]"n":(0|[1-9][0-9]{0,15})[,}]')
_MONTH = re.compile(r"2[01][0-9]{2}-(0[1-9]|1[0-2])")
_CODE = re.compile(r"[0-9]{12}")
_MANIFEST_TYPES = {"format": str, "county": str, "village": str, "month": str, "practice": bool, "visits": list}


class NotProven(ValueError):
    """The bundle can be read, and does not prove what it claims.

    :ivar code: a word of docs/evidence.md
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


# trees ----------------------------------------------------------------------------------------------------------------

Node = tuple[int, int]
"""(level, index): the complete subtree over the places [index << level, (index + 1) << level)."""


class PartialTree:
    """Some nodes of a Merkle tree that together cover the places [0, size), each place once."""

    def __init__(self, nodes: Mapping[Node, bytes]) -> None:
        """:raises NotProven: tree_incomplete, a gap or an overlap"""
        place = 0
        for (level, index), _ in sorted(nodes.items(), key=lambda item: (item[0][1] << item[0][0], item[0][0])):
            if index << level != place:
                what = "is missing" if index << level > place else "is there twice"
                raise NotProven("tree_incomplete", f"the hash of place {min(place, index << level)} {what}")
            place = (index + 1) << level
        self.size = place
        self._nodes = dict(nodes)

    def hash(self, level: int, index: int) -> bytes:
        """Hash of a complete subtree. :raises NotProven: tree_incomplete, only a larger one is there"""
        known = self._nodes.get((level, index))
        if known is not None:
            return known
        if level == 0:
            raise NotProven("tree_incomplete", f"place {index} is only there within a larger subtree")
        hashed = node_hash(self.hash(level - 1, 2 * index), self.hash(level - 1, 2 * index + 1))
        self._nodes[level, index] = hashed
        return hashed

    def root(self, size: int) -> bytes:
        """Root of the tree over the first ``size`` places. :raises NotProven: tree_incomplete"""
        if size > self.size:
            raise NotProven("tree_incomplete", f"{self.size} places are covered, {size} are asked for")
        hashes = [self.hash(level, index) for level, index in complete_subtrees(0, size)]
        if not hashes:
            return EMPTY_ROOT
        root = hashes.pop()
        while hashes:
            root = node_hash(hashes.pop(), root)
        return root


def nodes_for(singly: Iterable[tuple[int, int]], sizes: Iterable[int]) -> list[Node]:
    """The fewest nodes from which the roots of ``sizes`` can be recomputed, in order of place.

    :param singly: ranges [first, end) of which every place is a node of its own
    """
    cuts, ranges = sorted(set(sizes)), sorted(pair for pair in singly if pair[0] < pair[1])
    starts = [first for first, _ in ranges]
    found: list[Node] = []

    def descend(level: int, index: int) -> None:
        first, end = index << level, (index + 1) << level
        place = bisect_left(starts, end)
        single = any(range_end > first for _, range_end in ranges[:place])
        cut = bisect_right(cuts, first) < len(cuts) and cuts[bisect_right(cuts, first)] < end
        if level and (single or cut):
            descend(level - 1, 2 * index)
            descend(level - 1, 2 * index + 1)
        else:
            found.append((level, index))

    for level, index in complete_subtrees(0, cuts[-1] if cuts else 0):
        descend(level, index)
    return found


# what a bundle holds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogPart:
    """Part of one log.

    :ivar entries: bytes of shown entries by place
    :ivar hashes: of complete subtrees for the places that are not shown
    :ivar checkpoints: signed notes by size, as bytes
    """

    entries: Mapping[int, bytes]
    hashes: Mapping[Node, bytes]
    checkpoints: Mapping[int, bytes]

    def tree(self) -> PartialTree:
        """:raises NotProven: tree_incomplete"""
        shown = {(0, place): leaf_hash(body) for place, body in self.entries.items()}
        for node in shown.keys() & self.hashes.keys():
            raise NotProven("tree_incomplete", f"place {node[1]} is there as an entry and as a hash")
        return PartialTree({**self.hashes, **shown})


@dataclass(frozen=True)
class ClaimedVisit:
    visit: str
    origin: str
    state: str


@dataclass(frozen=True)
class Manifest:
    """What the bundle claims; nothing of it is believed. ``month``: YYYY-MM."""

    county: str
    village: str
    month: str
    practice: bool
    visits: tuple[ClaimedVisit, ...]

    def __bytes__(self) -> bytes:
        visits = [{"visit": claim.visit, "origin": claim.origin, "state": claim.state} for claim in self.visits]
        said = {"format": FORMAT, "county": self.county, "village": self.village, "month": self.month}
        return canonical.dumps({**said, "practice": self.practice, "visits": visits})

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """:raises BundleUnreadable: not a manifest of this format. :raises NotProven: visit_twice"""
        try:
            said = canonical.loads(data)
        except canonical.NotCanonical as fault:
            raise BundleUnreadable("manifest_unreadable", str(fault)) from None
        if said.get("format") != FORMAT:
            raise BundleUnreadable("format_unknown", f"format {str(said.get('format'))[:60]!r} is not {FORMAT}")
        visits = said.get("visits", ())
        good = {name: type(value) for name, value in said.items()} == _MANIFEST_TYPES
        if not good or not _CODE.fullmatch(said["village"]) or not _MONTH.fullmatch(said["month"]):
            raise BundleUnreadable("manifest_unreadable", "a field is missing, unknown or of another type")
        if not 1 <= len(visits) <= MOST_VISITS:
            raise BundleUnreadable("manifest_unreadable", f"{len(visits)} visits: from 1 to {MOST_VISITS} may be named")
        claims = tuple(map(_claim, visits))
        if len({claim.visit for claim in claims}) < len(claims):
            raise NotProven("visit_twice", "the manifest names a visit twice")
        return cls(said["county"], said["village"], said["month"], said["practice"], claims)


def _claim(said: object) -> ClaimedVisit:
    if not isinstance(said, dict) or set(said) != {"visit", "origin", "state"}:
        raise BundleUnreadable("manifest_unreadable", "a visit has fields visit, origin and state")
    if not all(isinstance(value, str) for value in said.values()) or not is_log_name(said["origin"]):
        raise BundleUnreadable("manifest_unreadable", f"visit {str(said['visit'])[:60]!r} has no origin of a journal")
    return ClaimedVisit(**said)


@dataclass(frozen=True)
class Bundle:
    """An unpacked bundle. Every bound is kept; nothing is verified.

    :ivar rules_checkpoint: an older checkpoint of the registry, which shows that the rules were made in time
    """

    manifest: Manifest
    registry: LogPart
    journals: Mapping[str, LogPart] = field(default_factory=dict)
    rules_checkpoint: bytes | None = None


def is_log_name(origin: str) -> bool:
    """Whether a log's name can be a folder of a bundle."""
    return bool(_ORIGIN.fullmatch(origin))


# reading and writing --------------------------------------------------------------------------------------------------


def write_bundle(bundle: Bundle) -> bytes:
    """The zip file; the same bundle is the same bytes.

    :raises BundleUnreadable: beyond a limit
    """
    newest = max(bundle.registry.checkpoints)
    members = {
        "manifest.json": bytes(bundle.manifest),
        "registry/checkpoint": bundle.registry.checkpoints[newest],
        **_written("registry", bundle.registry),
    }
    if bundle.rules_checkpoint is not None:
        members["registry/rules-checkpoint"] = bundle.rules_checkpoint
    for origin, part in bundle.journals.items():
        if not is_log_name(origin):
            raise BundleUnreadable("bundle_unreadable", f"{origin!r} cannot be a folder of a bundle")
        members |= _written(f"journal/{origin}", part)
        members |= {f"journal/{origin}/checkpoints/{size}": note for size, note in part.checkpoints.items()}
    return write_members(members)


def _written(folder: str, part: LogPart) -> dict[str, bytes]:
    entries = b"".join(part.entries[place] + b"\n" for place in sorted(part.entries))
    lines = (f"{level} {index} {b64(part.hashes[level, index])}\n" for level, index in sorted(part.hashes))
    return {f"{folder}/entries": entries, f"{folder}/tree": "".join(lines).encode()}


def read_bundle(data: bytes) -> Bundle:
    """Unpack a bundle.

    :raises BundleUnreadable: damaged, incomplete or beyond a limit
    :raises NotProven: what an entry or the manifest says about itself is wrong
    """
    members = read_members(data)
    journals: dict[str, dict[int, bytes]] = {}
    for name in members:
        found = _MEMBER.fullmatch(name)
        if found is not None:
            sizes = journals.setdefault(found[1], {})
            if found[3]:
                sizes[int(found[3])] = members[name]
        elif name not in _SINGLE:
            raise BundleUnreadable("member_unknown", f"{name[:120]!r} is no part of a bundle")
    manifest = Manifest.parse(_member(members, "manifest.json"))
    named = {claim.origin for claim in manifest.visits}
    for origin in sorted(named - journals.keys()):
        raise BundleUnreadable("member_missing", f"journal {origin} is missing")
    for origin in sorted(journals.keys() - named):
        raise BundleUnreadable("member_unknown", f"journal {origin} is not in the manifest")
    registry = _read(members, "registry", {0: _member(members, "registry/checkpoint")})
    parts = {origin: _read(members, f"journal/{origin}", journals[origin]) for origin in sorted(named)}
    return Bundle(manifest, registry, parts, members.get("registry/rules-checkpoint"))


def _member(members: Mapping[str, bytes], name: str) -> bytes:
    if name not in members:
        raise BundleUnreadable("member_missing", f"{name} is missing")
    return members[name]


def _read(members: Mapping[str, bytes], folder: str, checkpoints: Mapping[int, bytes]) -> LogPart:
    if not checkpoints:
        raise BundleUnreadable("member_missing", f"{folder} has no checkpoint")
    entries = _entries(_member(members, f"{folder}/entries"), f"{folder}/entries")
    return LogPart(entries, _hashes(_member(members, f"{folder}/tree"), f"{folder}/tree"), checkpoints)


def _lines(data: bytes, name: str) -> Sequence[bytes]:
    if not data:
        return ()
    lines = data.split(b"\n")
    if lines.pop() or len(lines) > MOST_LINES:
        raise BundleUnreadable("lines_unreadable", f"{name}: the last line has no end, or there are too many")
    return lines


def _entries(data: bytes, name: str) -> dict[int, bytes]:
    """By place. Whether an entry is canonical is found by whoever reads it; its hash is over these bytes."""
    entries: dict[int, bytes] = {}
    last = -1
    for line in _lines(data, name):
        if not 0 < len(line) <= LARGEST_BODY_BYTES:
            raise BundleUnreadable("lines_unreadable", f"{name}: a line of {len(line)} bytes is no entry")
        place = _place(line, name)
        if type(place) is not int or place < 0:
            raise NotProven("entry_not_canonical", f"{name}: an entry without its place")
        if place <= last:
            raise NotProven("entry_misplaced", f"{name}: entry {place} stands behind entry {last}")
        entries[place] = line
        last = place
    if not entries:
        raise BundleUnreadable("lines_unreadable", f"{name} is empty")
    return entries


def _place(line: bytes, name: str) -> object:
    """What an entry says its place is. Nearly always the only key "n" in it, which is found without reading it all."""
    found = _PLACE.findall(line)
    if len(found) == 1:
        return int(found[0])
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise NotProven("entry_not_canonical", f"{name}: not JSON: {fault}") from None
    return said.get("n") if isinstance(said, dict) else None


def _hashes(data: bytes, name: str) -> dict[Node, bytes]:
    hashes: dict[Node, bytes] = {}
    last = (-1, -1)
    for line in _lines(data, name):
        try:
            found = _LINE.fullmatch(line.decode("ascii"))
            hashed = unb64(found[3]) if found else b""
        except (UnicodeDecodeError, NoteRefused):
            found, hashed = None, b""
        if found is None or len(hashed) != HASH_BYTES:
            raise BundleUnreadable("lines_unreadable", f"{name}: {line[:80]!r} is not level, index and hash")
        node = int(found[1]), int(found[2])
        if node[0] > HIGHEST_LEVEL or node <= last:
            raise BundleUnreadable("lines_unreadable", f"{name}: level {node[0]}, index {node[1]} is out of order")
        hashes[node] = hashed
        last = node
    return hashes
