"""A whole log, entry by entry, as C2SP tlog-tiles: a USB export or tiles fetched from the county. Pure, streaming.

What is wrong is a fault (exit 1): an entry that is not canonical or stands at another place, a boot counter that jumps,
a hash that does not fit, a signature that is missing or wrong. What a reader should know is a note: kinds that this
version does not know, entries that were pruned, clock steps that no entry declares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sync.evidence import NotProven
from sync.merkle import HASH_BYTES, Frontier, leaf_hash
from sync.notes import VerifierKey
from sync.records import KINDS, Entry, EntryUnreadable, read_entry
from sync.registry_entries import RegistryEntry, RegistryUnreadable, is_registry, read_registry_entry
from sync.registry_state import RegistryState
from sync.verify.checkpoints import SignedCheckpoint, check_signatures, read_checkpoint
from sync.verify.policy import Policy

TILE = 256
MOST_FAULTS_TOLD = 20
CLOCK_TOLERANCE_MS = 5000
"""Within one boot wall time minus monotonic time is constant but for what ``clock/1`` entries say."""
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
    :ivar stepped: places at which the clock stepped without a word
    """

    origin: str
    size: int
    signed: SignedCheckpoint | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    faults_in_all: int = 0
    boots: int = 0
    pruned: int = 0
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


def audit_log(read: ReadFile, policy: Policy, keys: FindKeys) -> LogReport:
    """Read the whole log that ``read`` gives.

    :raises NotProven: without a readable checkpoint there is nothing to hold the entries against
    """
    data = read("checkpoint")
    if data is None:
        raise NotProven("note_unreadable", "there is no file checkpoint in this folder: name the folder of one log")
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
    frontier = _follow(read, report, reader)
    if frontier is not None and frontier.root() != checkpoint.root:
        report.fault("root_mismatch", "the entries give another root than the checkpoint says")
    reader.close()
    return report


def _follow(read: ReadFile, report: LogReport, reader: _JournalReader | _RegistryReader) -> Frontier | None:
    """The tree over all entries; None when some are missing."""
    frontier = Frontier()
    tiles = _Tiles(read, report)
    for tile, bodies in _bundles(read, report):
        if bodies is None:
            return None
        first = tile * TILE
        leaves = tiles.leaves(tile, len(bodies))
        for place, body in enumerate(bodies):
            if body:
                leaf = leaf_hash(body)
                if leaves is not None and leaves[place] != leaf:
                    report.fault("root_mismatch", f"entry {first + place} has another hash than its tile says")
                reader.read(body, first + place)
            elif leaves is None:
                report.fault("tree_incomplete", f"neither entry {first + place} nor its hash is there")
                return None
            else:
                leaf = leaves[place]
                report.pruned += 1
            for level, index, hashed in frontier.append(leaf):
                if level % 8 == 0:
                    tiles.check(level // 8, index, hashed)
    tiles.finish()
    return frontier


def _bundles(read: ReadFile, report: LogReport) -> Iterator[tuple[int, list[bytes] | None]]:
    """(number, entries) of each entry bundle; None when it is missing or damaged."""
    for tile in range((report.size + TILE - 1) // TILE):
        width = min(TILE, report.size - tile * TILE)
        name = "tile/entries/" + tile_path(tile)
        data = _full_or_partial(read, name, width)
        bodies = None if data is None else _unpacked(data, width)
        if bodies is None:
            what = "is missing" if data is None else "is damaged"
            report.fault("tree_incomplete", f"{name} ({width} entries) {what}")
        yield tile, bodies
        if bodies is None:
            return


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

    def leaves(self, tile: int, width: int) -> list[bytes] | None:
        return self._hashes(0, tile, width)

    def check(self, level: int, index: int, hashed: bytes) -> None:
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
        found = self._hashes(level, tile, len(pending))
        if found is not None and found != pending:
            self._report.fault("root_mismatch", f"tile/{level}/{tile_path(tile)} does not fit the entries")
        self._done[level] += 1
        self._pending[level] = []

    def _hashes(self, level: int, tile: int, width: int) -> list[bytes] | None:
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
            entry = read_entry(body, n)
        except EntryUnreadable as fault:
            self._report.fault("entry_not_canonical", f"entry {n}: {fault}")
            return
        report = self._report
        report.kinds[entry.kind] += 1
        report.last_at = entry.at
        if report.first_at is None:
            report.first_at, self._vehicle = entry.at, entry.vehicle
        if entry.vehicle != self._vehicle:
            report.fault("entry_misplaced", f"entry {n} is of vehicle {entry.vehicle[:60]!r}")
        self._check_boot(entry)
        self._check_clock(entry)

    def _check_boot(self, entry: Entry) -> None:
        begins = entry.kind == "boot/1"
        wanted = entry.boot if self._boot is None else self._boot + begins
        if entry.boot != wanted:
            self._report.fault("boot_order", f"entry {entry.n} is of boot {entry.boot}, not {wanted}")
        if begins or self._boot is None:
            self._report.boots += 1
            self._offset_ms = None
        self._boot = entry.boot

    def _check_clock(self, entry: Entry) -> None:
        offset_ms = (entry.at - _EPOCH) // _MS - entry.mono_ms
        if self._offset_ms is not None and entry.kind != "clock/1":
            if abs(offset_ms - self._offset_ms) <= CLOCK_TOLERANCE_MS:
                return
            self._report.stepped.append(entry.n)
        self._offset_ms = offset_ms

    def close(self) -> None:
        """Nothing is left open."""


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

    def close(self) -> None:
        try:
            self._report.registry = RegistryState.after(self._entries)
        except RegistryUnreadable as fault:
            self._report.fault("index_missing", str(fault))
