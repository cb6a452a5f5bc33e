"""A whole log, entry by entry, as C2SP tlog-tiles: a USB export or tiles fetched from the county. Pure, streaming.

What is wrong is a fault (exit 1): an entry that is not canonical or stands at another place, a boot counter that jumps,
a hash that does not fit, a signature that is missing or wrong. What a reader should know is a note: kinds that this
version does not know, entries of which only the hash is there, clock steps that no entry declares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sync.formats.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, leaf_hash, root_of, subtree_root
from sync.formats.notes import VerifierKey
from sync.formats.record_kinds import KINDS
from sync.formats.records import EntryUnreadable, format_time, parse_time, read_said
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import NotProven
from sync.proof.registry_entries import (
    RegistryContradicts,
    RegistryEntry,
    RegistryUnreadable,
    is_registry,
    read_registry_entry,
)
from sync.proof.registry_state import RegistryState
from sync.verify.checkpoints import SignedCheckpoint, check_signatures, read_checkpoint
from sync.verify.policy import Policy

TILE = 256
MOST_FAULTS_TOLD = 20
CLOCK_TOLERANCE_MS = 5000
"""Within one boot wall time minus monotonic time is constant but for what ``clock/1`` entries say."""
CLOCKS_APART = timedelta(minutes=5)
"""By how much the clocks of a county and of its witness may differ."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

ReadFile = Callable[[str], bytes | None]
"""Content of a file of the log by its path ("checkpoint", "tile/0/000"); None when there is none."""
FindKeys = Callable[[str, int], list[VerifierKey]]
"""Keys that sign checkpoints of an origin and size."""


@dataclass
class LogReport:
    """What was found in one log.

    :ivar faults: (code, detail) of the first ``MOST_FAULTS_TOLD``
    :ivar absent: entries that are not in the folder but as hashes: delivered before, or removed after retention
    :ivar stepped: places at which the clock stepped without a word
    """

    origin: str
    size: int
    signed: SignedCheckpoint | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    faults_in_all: int = 0
    boots: int = 0
    absent: int = 0
    stepped: list[int] = field(default_factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None
    registry: RegistryState | None = None

    @property
    def unknown_kinds(self) -> dict[str, int]:
        return {kind: count for kind, count in sorted(self.kinds.items()) if kind not in KINDS}

    def fault(self, code: str, detail: str) -> None:
        self.faults_in_all += 1
        if len(self.faults) < MOST_FAULTS_TOLD:
            self.faults.append((code, detail))


def keys_from(policy: Policy, registry: RegistryState | None = None) -> FindKeys:
    """Keys that the policy names as logs, and those that the registry has for a vehicle."""

    def find(origin: str, size: int) -> list[VerifierKey]:
        keys = [key for key in policy.logs if key.name == origin]
        vehicle = registry.vehicle(origin) if registry is not None else None
        if vehicle is None:
            return keys
        if vehicle.revoked is not None and size > vehicle.revoked.size:
            raise NotProven("key_not_valid_at_size", f"{origin} is revoked from size {vehicle.revoked.size} on")
        valid = (key for key in vehicle.keys if key.from_size <= size and size <= (key.until_size or size))
        return [*keys, *(VerifierKey.parse(key.key) for key in valid)]

    return find


def audit_log(read: ReadFile, policy: Policy, keys: FindKeys, earlier: Sequence[bytes] = ()) -> LogReport:
    """Read the whole log that ``read`` gives.

    :param earlier: checkpoints of this registry that somebody kept, such as its witness or who has older evidence: the
        log must extend each, and say nothing behind it that is older than its cosignatures
    :raises BundleUnreadable: there is no checkpoint
    :raises NotProven: without a readable one there is nothing to hold the entries against; an earlier one is of no
        registry, of another log, or not signed as the policy asks
    """
    data = read("checkpoint")
    if data is None:
        raise BundleUnreadable("member_missing", "there is no file checkpoint: name the folder of one log")
    note, checkpoint = read_checkpoint(data, "checkpoint")
    report = LogReport(checkpoint.origin, checkpoint.size)
    try:
        report.signed = check_signatures(
            note, checkpoint, keys(checkpoint.origin, checkpoint.size), policy, "checkpoint"
        )
        if not report.signed.quorum:
            report.fault("quorum_missing", "the checkpoint is not cosigned by all whom the policy asks for")
    except NotProven as fault:
        report.fault(fault.code, str(fault))
    reader = _RegistryReader(report) if is_registry(checkpoint.origin) else _JournalReader(report)
    kept = [_earlier(data, checkpoint.origin, policy, keys) for data in earlier]
    root = _root(read, report, reader)
    if root is not None and root != checkpoint.root:
        report.fault("root_mismatch", "the entries give another root than the checkpoint says")
    reader.close(kept)
    return report


def _earlier(data: bytes, origin: str, policy: Policy, keys: FindKeys) -> SignedCheckpoint:
    where = "an earlier checkpoint"
    note, checkpoint = read_checkpoint(data, where)
    if checkpoint.origin != origin or not is_registry(origin):
        raise NotProven("origin_mismatch", f"{where} is of {checkpoint.origin[:99]!r}, the log is {origin[:99]!r}")
    return check_signatures(note, checkpoint, keys(origin, checkpoint.size), policy, where)


def _root(read: ReadFile, report: LogReport, reader: _JournalReader | _RegistryReader) -> bytes | None:
    """Root over all entries, which ``reader`` gets one by one; None when some are neither there nor hashed."""
    tiles, blocks = _Tiles(read, report), Frontier()
    nodes: dict[tuple[int, int], bytes] = {}
    for tile in range((report.size + TILE - 1) // TILE):
        width = min(TILE, report.size - tile * TILE)
        leaves = _leaves(read, report, reader, tiles, tile, width)
        block = tiles.block(tile) if leaves is None and width == TILE else None
        if leaves is None and block is None:
            report.fault("tree_incomplete", f"tile/entries/{tile_path(tile)} is missing, and so are its hashes")
            return None
        if width < TILE:
            nodes |= _partial(leaves or [], tile * TILE)
            continue
        completed = [(0, tile, block or root_of(leaves or [])), *blocks.append(block or root_of(leaves or []))]
        for level, index, hashed in completed:
            nodes[level + 8, index] = hashed
            if level % 8 == 0:
                tiles.check(level // 8 + 1, hashed)
    tiles.finish()
    return subtree_root(0, report.size, lambda level, index: nodes[level, index]) if report.size else EMPTY_ROOT


def _leaves(
    read: ReadFile,
    report: LogReport,
    reader: _JournalReader | _RegistryReader,
    tiles: _Tiles,
    tile: int,
    width: int,
) -> list[bytes] | None:
    """Leaf hashes of one tile: from its entries, or where these are not in the folder from its hash tile."""
    first, name = tile * TILE, "tile/entries/" + tile_path(tile)
    hashes, data = tiles.hashes(0, tile, width), _full_or_partial(read, name, width)
    if data is None:
        report.absent += width
        reader.skip()
        return hashes
    bodies = _unpacked(data, width)
    if bodies is None:
        report.fault("tree_incomplete", f"{name} ({width} entries) is damaged")
        return None
    leaves = list(map(leaf_hash, bodies))
    if hashes is not None and hashes != leaves:
        wrong = next(place for place in range(width) if hashes[place] != leaves[place])
        report.fault("root_mismatch", f"entry {first + wrong} has another hash than its tile says")
    for place, body in enumerate(bodies):
        reader.read(body, first + place)
    return leaves


def _partial(leaves: Sequence[bytes], first: int) -> dict[tuple[int, int], bytes]:
    """Complete subtrees within the last tile."""
    frontier, nodes = Frontier(), {}
    for place, leaf in enumerate(leaves):
        for level, index, hashed in [(0, place, leaf), *frontier.append(leaf)]:
            nodes[level, (first >> level) + index] = hashed
    return nodes


def _full_or_partial(read: ReadFile, name: str, width: int) -> bytes | None:
    data = read(name)
    return read(f"{name}.p/{width}") if data is None and width < TILE else data


def _unpacked(data: bytes, width: int) -> list[bytes] | None:
    """The first ``width`` entries of a bundle: big-endian lengths of 16 bits, then bytes."""
    bodies, at, end = [], 0, len(data)
    while at + 2 <= end:
        length = data[at] << 8 | data[at + 1]
        at += 2 + length
        bodies.append(data[at - length : at])
    return bodies[:width] if at == end and len(bodies) >= width else None


def tile_path(index: int) -> str:
    """C2SP tlog-tiles: three digits an element, all but the last with an x."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


class _Tiles:
    """Hash tiles, as far as they are there, against the hashes that the entries give."""

    def __init__(self, read: ReadFile, report: LogReport) -> None:
        self._read, self._report = read, report
        self._pending: dict[int, list[bytes]] = {}
        self._done: Counter[int] = Counter()
        self._blocks: tuple[int, list[bytes] | None] = (-1, None)

    def block(self, tile: int) -> bytes | None:
        """Hash of a full tile of leaves as the level above says it."""
        above, place = divmod(tile, TILE)
        if self._blocks[0] != above:
            width = min(TILE, self._report.size // TILE - above * TILE)
            self._blocks = above, self.hashes(1, above, width)
        found = self._blocks[1]
        return found[place] if found is not None else None

    def check(self, level: int, hashed: bytes) -> None:
        pending = self._pending.setdefault(level, [])
        pending.append(hashed)
        if len(pending) == TILE:
            self._compare(level)

    def finish(self) -> None:
        for level in list(self._pending):
            if self._pending[level]:
                self._compare(level)

    def _compare(self, level: int) -> None:
        tile, pending = self._done[level], self._pending[level]
        found = self.hashes(level, tile, len(pending))
        if found is not None and found != pending:
            self._report.fault("root_mismatch", f"tile/{level}/{tile_path(tile)} does not fit the entries")
        self._done[level] += 1
        self._pending[level] = []

    def hashes(self, level: int, tile: int, width: int) -> list[bytes] | None:
        """The first ``width`` hashes of a tile; None when it is not there."""
        name = f"tile/{level}/{tile_path(tile)}"
        data = _full_or_partial(self._read, name, width)
        if data is None:
            return None
        if len(data) < width * HASH_BYTES or len(data) % HASH_BYTES:
            self._report.fault("tree_incomplete", f"{name} is damaged")
            return None
        return [data[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]


class _JournalReader:
    """What entries of a vehicle's journal say of themselves: place, boot counter, clock."""

    def __init__(self, report: LogReport) -> None:
        self._report = report
        self._boot: int | None = None
        self._offset_ms: int | None = None
        self._vehicle: str | None = None

    def read(self, body: bytes, n: int) -> None:
        try:
            said = read_said(body, n)
        except EntryUnreadable as fault:
            self._report.fault("entry_not_canonical", f"entry {n}: {fault}")
            return
        report, at = self._report, parse_time(said["at"])
        report.kinds[said["kind"]] += 1
        report.last_at = at
        if report.first_at is None:
            report.first_at, self._vehicle = at, said["vehicle"]
        if said["vehicle"] != self._vehicle:
            report.fault("entry_misplaced", f"entry {n} is of vehicle {said['vehicle'][:60]!r}")
        self._check_boot(n, said["kind"] == "boot/1", said["boot"])
        self._check_clock(n, said["kind"] == "clock/1", (at - _EPOCH) // _MS - said["mono_ms"])

    def skip(self) -> None:
        """Some entries are not there: boot counter and clock begin anew."""
        self._boot = self._offset_ms = None

    def _check_boot(self, n: int, begins: bool, boot: int) -> None:
        wanted = boot if self._boot is None else self._boot + begins
        if boot != wanted:
            self._report.fault("boot_order", f"entry {n} is of boot {boot}, not {wanted}")
        if begins or self._boot is None:
            self._report.boots += 1
            self._offset_ms = None
        self._boot = boot

    def _check_clock(self, n: int, declares: bool, offset_ms: int) -> None:
        """:param offset_ms: wall time minus monotonic time"""
        if self._offset_ms is not None and not declares:
            if abs(offset_ms - self._offset_ms) <= CLOCK_TOLERANCE_MS:
                return
            self._report.stepped.append(n)
        self._offset_ms = offset_ms

    def close(self, earlier: Sequence[SignedCheckpoint]) -> None:
        """Nothing is left open; of a vehicle no ``earlier`` checkpoints are taken."""


class _RegistryReader:
    """Entries of a county's registry: every index must say what the entries before it say."""

    def __init__(self, report: LogReport) -> None:
        self._report = report
        self._entries: list[RegistryEntry] = []

    def read(self, body: bytes, n: int) -> None:
        try:
            entry = read_registry_entry(body, n)
        except RegistryUnreadable as fault:
            self._report.fault("registry_entry_wrong", f"entry {n}: {fault}")
            return
        self._report.kinds[entry.kind] += 1
        self._report.first_at = self._report.first_at or entry.at
        self._report.last_at = entry.at
        self._entries.append(entry)

    def skip(self) -> None:
        """What is missing is found when the state is made."""

    def close(self, earlier: Sequence[SignedCheckpoint]) -> None:
        """:param earlier: checkpoints that this registry must extend"""
        try:
            self._report.registry = RegistryState.after(self._entries)
        except RegistryContradicts as fault:
            self._report.fault(fault.code, str(fault))
        except RegistryUnreadable as fault:
            self._report.fault("index_missing", str(fault))
        if self._report.signed is not None and self._entries:
            self._check_after(self._report.signed)
        for signed in earlier:
            self._check_extends(signed)

    def _check_after(self, signed: SignedCheckpoint) -> None:
        """Whoever cosigned the log cannot have done it before its last entry was written."""
        last = self._entries[-1]
        for name, at in signed.witnesses.items():
            if last.at > at + CLOCKS_APART:
                said = f"entry {last.n} says {format_time(last.at)}, and {name} cosigned it at {format_time(at)}"
                self._report.fault("registry_postdated", said)

    def _check_extends(self, signed: SignedCheckpoint) -> None:
        size, entries = signed.checkpoint.size, self._entries
        if size > len(entries) or root_of([entry.leaf_hash for entry in entries[:size]]) != signed.checkpoint.root:
            self._report.fault("root_mismatch", f"the log does not extend an earlier checkpoint of {size} entries")
            return
        for name, at in signed.witnesses.items():
            older = next((entry for entry in entries[size:] if entry.at < at - CLOCKS_APART), None)
            if older is not None:
                said = f"entry {older.n} says {format_time(older.at)}, but {name} had seen {size} entries"
                self._report.fault("registry_backdated", f"{said} at {format_time(at)} without it")
