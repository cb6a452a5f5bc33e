"""Is a file of sealed months what it claims: the county's verdicts in force, all of them, under trusted keys? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.formats.merkle import leaf_hash, verify_inclusion
from sync.formats.records import format_time
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import NotProven
from sync.proof.registry_entries import RegistryUnreadable, read_registry_entry
from sync.proof.registry_state import RegistryState, Verdict
from sync.proof.sealed_file import SealedFile, SealedFileUnreadable, read_sealed_file
from sync.verify.checkpoints import check_signatures, read_checkpoint
from sync.verify.policy import Policy
from sync.verify.words import Words

_DONE = "done"


@dataclass(frozen=True, slots=True)
class CheckedTownship:
    """:ivar leaf: hash of the verdict's entry, as the report prints it
    :ivar counted: visits of all its villages; ``done`` of ``villages`` had all that were asked for
    """

    month: str
    township: str
    n: int
    leaf: bytes
    sealed_at: datetime
    villages: int
    done: int
    counted: int
    practice: bool
    supersedes: int | None


@dataclass(frozen=True, slots=True)
class SealedReport:
    """:ivar cosigned: earliest time by the name of whose key cosigned"""

    about: Mapping[str, Any]
    origin: str
    size: int
    root: bytes
    cosigned: Mapping[str, datetime]
    townships: tuple[CheckedTownship, ...]


def check_sealed(data: bytes, policy: Policy) -> SealedReport:
    """
    :raises BundleUnreadable: no such file
    :raises NotProven: a signature or a proof does not hold, a verdict is not the one in force, or one is left out
    """
    try:
        file = read_sealed_file(data)
    except SealedFileUnreadable as fault:
        raise BundleUnreadable("bundle_unreadable", str(fault)) from None
    note, checkpoint = read_checkpoint(file.checkpoint, "checkpoint")
    logs = [key for key in policy.logs if key.name == checkpoint.origin]
    if not logs:
        raise NotProven("origin_mismatch", f"the policy knows no registry {checkpoint.origin[:100]!r}")
    signed = check_signatures(note, checkpoint, logs, policy, "checkpoint")
    if not signed.quorum:
        raise NotProven("quorum_missing", "the checkpoint is not cosigned by all whom the policy asks for")
    for n, body, proof in file.entries:
        if n >= checkpoint.size or not verify_inclusion(n, leaf_hash(body), checkpoint.size, checkpoint.root, proof):
            raise NotProven("root_mismatch", f"entry {n} does not lie under the checkpoint")
    townships = tuple(_checked(file, checkpoint.size))
    return SealedReport(file.about, checkpoint.origin, checkpoint.size, checkpoint.root, signed.witnesses, townships)


def _checked(file: SealedFile, size: int) -> Iterator[CheckedTownship]:
    """Every verdict that the index names for the months of the file; one that is not shown is left out on purpose."""
    if file.entries[-1][0] != size - 1:
        raise NotProven("index_missing", f"the last of {size} entries of the registry is not shown")
    bodies = {n: body for n, body, _ in file.entries}
    first, last = str(file.about.get("first", "")), str(file.about.get("last", ""))
    try:
        state = RegistryState.shown([read_registry_entry(body, n) for n, body in bodies.items()])
        for month, townships in sorted(state.index.verdicts.items()):
            if first <= month <= last:
                for place in townships.values():
                    yield _township(month, state.verdict_at(place), leaf_hash(bodies[place]))
    except RegistryUnreadable as fault:
        raise NotProven("registry_entry_missing", str(fault)) from None


def _township(month: str, verdict: Verdict, leaf: bytes) -> CheckedTownship:
    return CheckedTownship(
        month=month,
        township=verdict.township,
        n=verdict.n,
        leaf=leaf,
        sealed_at=verdict.at,
        villages=len(verdict.villages),
        done=sum(village.state == _DONE for village in verdict.villages.values()),
        counted=sum(village.counted for village in verdict.villages.values()),
        practice=verdict.practice,
        supersedes=verdict.supersedes,
    )


# what was found -------------------------------------------------------------------------------------------------------


def sealed_json(report: SealedReport) -> dict[str, Any]:
    return {
        "result": "valid",
        "faults": [],
        "about": dict(report.about),
        "registry": {
            "origin": report.origin,
            "size": report.size,
            "root": report.root.hex(),
            "cosigned": {name: format_time(at) for name, at in sorted(report.cosigned.items())},
        },
        "townships": [
            {
                "month": one.month,
                "township": one.township,
                "entry": one.n,
                "leaf": one.leaf.hex(),
                "sealed_at": format_time(one.sealed_at),
                "villages": one.villages,
                "done": one.done,
                "counted": one.counted,
                "practice": one.practice,
                "supersedes": one.supersedes,
            }
            for one in report.townships
        ],
    }


def sealed_text(report: SealedReport, t: Words) -> Iterator[str]:
    yield t("sealed_valid", first=report.about.get("first", ""), last=report.about.get("last", ""))
    yield f"  {t('registry')}: {report.origin}, {report.size}, {report.root.hex()}"
    for name, at in sorted(report.cosigned.items()):
        yield f"  {t('seen')}: {name} {format_time(at)}"
    for one in report.townships:
        facts = {"done": one.done, "villages": one.villages, "counted": one.counted, "n": one.n}
        mark = t("sealed_practice") if one.practice else ""
        yield f"{one.month} {one.township}: {t('sealed_township', **facts)}{mark}"
        yield f"  {one.leaf.hex()}"
    if not report.townships:
        yield t("sealed_none")
