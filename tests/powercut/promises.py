"""What the writer said was safe, line by line as it came through the pipe before the cut.

A promise that was made before the power went must be kept after it; what was said during the cut binds nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sync.formats.records import Entry

READY = "ready"


def entries_said(entries: Iterable[Entry]) -> str:
    return "".join(f"entry {entry.n} {entry.leaf_hash.hex()}\n" for entry in entries)


@dataclass
class Promises:
    """
    :ivar entries: place -> leaf hash
    :ivar recordings: SHA-256 of those that an acknowledged entry names
    :ivar ecg: start of a recording under way -> samples that are on the disk
    :ivar receipts: sizes that a receipt was kept for
    :ivar delivered: SHA-256 of recordings that the county confirmed
    """

    entries: dict[int, str] = field(default_factory=dict)
    recordings: set[str] = field(default_factory=set)
    ecg: dict[str, int] = field(default_factory=dict)
    receipts: set[int] = field(default_factory=set)
    delivered: set[str] = field(default_factory=set)

    def hear(self, said: bytes) -> None:
        """Take whole lines; a last torn one was never said."""
        for line in said.decode().rpartition("\n")[0].splitlines():
            match line.split():
                case ["entry", place, leaf]:
                    self.entries[int(place)] = leaf
                case ["recording", sha256]:
                    self.recordings.add(sha256)
                case ["ecg", started_at, samples]:
                    self.ecg[started_at] = max(int(samples), self.ecg.get(started_at, 0))
                case ["receipt", size]:
                    self.receipts.add(int(size))
                case ["delivered", sha256]:
                    self.delivered.add(sha256)
                case ["ready"]:
                    pass
                case _:
                    raise ValueError(f"the writer said {line!r}")

    @property
    def counts(self) -> tuple[int, int, int]:
        """Entries, recordings, and confirmations of the county."""
        return len(self.entries), len(self.recordings), len(self.receipts) + len(self.delivered)
