"""The whole of an evidence bundle, in the order of docs/evidence.md, section 4. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise

from sync.formats.notes import Note, cosigned_at
from sync.formats.records import Entry, EntryUnreadable, read_entry
from sync.proof.coverage import MonthVerdict, VisitVerdict, end_of_month, judge_month
from sync.proof.evidence import ClaimedVisit, LogPart, Manifest, NotProven, read_bundle
from sync.proof.registry_state import Decision
from sync.proof.visit_conflicts import compared
from sync.proof.visit_proof import Bracket, VisitProof, facts_of_visit, merged
from sync.verify.checkpoints import SignedCheckpoint, check_signatures, read_checkpoint
from sync.verify.policy import Policy
from sync.verify.registry_check import RegistryView, check_registry

LONG_AFTER = timedelta(days=400)
"""A verifier judges visits, and does not care whether their month is still provisional."""


@dataclass(frozen=True)
class CheckedVisit:
    """:ivar shown: entries of its range that are shown; ``proof.evidence.hidden`` counts the others
    :ivar sealed: the first checkpoint over all of its entries that enough witnesses cosigned
    """

    claim: ClaimedVisit
    proof: VisitProof
    verdict: VisitVerdict
    shown: int
    sealed: SignedCheckpoint

    @property
    def sealed_by(self) -> Mapping[str, datetime]:
        """Who cosigned ``sealed``, by key name, and when."""
        return self.sealed.witnesses

    @property
    def sealed_note(self) -> bytes:
        """``sealed`` with the lines that were verified, and no others."""
        own, cosigned = self.sealed.own, self.sealed.cosigned
        lines = [*own, *(line for name in sorted(cosigned) for line in cosigned[name])]
        return bytes(Note(self.sealed.note.text, tuple(lines)))


@dataclass(frozen=True)
class BundleReport:
    """What an authentic bundle says.

    :ivar wrong: visits whose recomputed state is not the manifest's; the bundle is not valid when there are any
    """

    sha256: str
    manifest: Manifest
    registry: RegistryView
    month: MonthVerdict
    visits: tuple[CheckedVisit, ...]

    @property
    def wrong(self) -> tuple[CheckedVisit, ...]:
        return tuple(visit for visit in self.visits if visit.verdict.state != visit.claim.state)


@dataclass(frozen=True)
class _Journal:
    """One vehicle's part: entries, places of which only the hash is known, checkpoints, smallest first."""

    origin: str
    entries: tuple[Entry, ...]
    hidden: frozenset[int]
    checkpoints: tuple[SignedCheckpoint, ...]

    def checkpoint(self, size: int) -> SignedCheckpoint | None:
        return next((signed for signed in self.checkpoints if signed.checkpoint.size == size), None)


def check_bundle(data: bytes, policy: Policy) -> BundleReport:
    """Verify a bundle; the states of its visits are still to be compared (``BundleReport.wrong``).

    :raises BundleUnreadable: nothing can be judged
    :raises NotProven: it does not prove what it claims
    """
    bundle = read_bundle(data)
    manifest = bundle.manifest
    registry = check_registry(bundle.registry, manifest, sorted(bundle.journals), policy, bundle.rules_checkpoint)
    journals = {origin: _journal(origin, part, registry, policy) for origin, part in bundle.journals.items()}
    proofs: dict[str, tuple[VisitProof, int, SignedCheckpoint]] = {}
    for claim in manifest.visits:
        proofs[claim.visit] = _visit(claim, manifest, journals[claim.origin], registry)
    month, together = _judged([proof for proof, _, _ in proofs.values()], manifest, registry)
    visits = [
        CheckedVisit(claim, together[claim.visit], month.visits[claim.visit], *proofs[claim.visit][1:])
        for claim in manifest.visits
    ]
    return BundleReport(sha256(data).hexdigest(), manifest, registry, month, tuple(visits))


def _journal(origin: str, part: LogPart, registry: RegistryView, policy: Policy) -> _Journal:
    tree = part.tree()
    checkpoints = []
    for size in sorted(part.checkpoints):
        where = f"journal/{origin}/checkpoints/{size}"
        note, checkpoint = read_checkpoint(part.checkpoints[size], where)
        if checkpoint.origin != origin or checkpoint.size != size:
            raise NotProven(
                "origin_mismatch", f"{where} is of {checkpoint.origin[:100]!r} with {checkpoint.size} entries"
            )
        checkpoints.append(check_signatures(note, checkpoint, registry.keys_at(origin, size), policy, where))
        if tree.root(size) != checkpoint.root:
            raise NotProven("root_mismatch", f"{where}: the entries and hashes give another root")
    if tree.size != checkpoints[-1].checkpoint.size:
        raise NotProven("tree_incomplete", f"{origin} shows {tree.size} places, beyond its largest checkpoint")
    try:
        entries = tuple(read_entry(body, n) for n, body in part.entries.items())
    except EntryUnreadable as fault:
        raise NotProven("entry_not_canonical", f"{origin}: {fault}") from None
    for before, entry in pairwise(entries):
        if entry.boot < before.boot:
            raise NotProven(
                "boot_order", f"{origin}: entry {entry.n} is of boot {entry.boot}, after boot {before.boot}"
            )
    hidden = frozenset(index for level, index in part.hashes if level == 0)
    return _Journal(origin, entries, hidden, tuple(checkpoints))


def _visit(
    claim: ClaimedVisit, manifest: Manifest, journal: _Journal, registry: RegistryView
) -> tuple[VisitProof, int, SignedCheckpoint]:
    """Facts of one visit by itself, number of its entries shown, and who sealed it."""
    opened = _opening(claim, manifest, journal)
    first, last = _range(opened, journal)
    within = [entry for entry in journal.entries if first <= entry.n <= last]
    hidden = {place for place in journal.hidden if first <= place <= last}
    if len(within) + len(hidden) != last + 1 - first:
        raise NotProven("range_incomplete", f"visit {claim.visit}: a place of its range is only there among others")
    if any(entry.practice != manifest.practice for entry in within):
        raise NotProven("practice_mismatch", f"visit {claim.visit}: practice and the real thing are mixed")
    bracket, sealed = _bracket(claim, opened, within, last, journal, registry)
    areas, decision = registry.around(opened.fields["village"]), _decision(claim, registry)
    proof = facts_of_visit(claim.visit, within, hidden, areas, registry.rules, bracket, decision, origin=claim.origin)
    return proof, len(within), sealed


def _opening(claim: ClaimedVisit, manifest: Manifest, journal: _Journal) -> Entry:
    found = [
        entry for entry in journal.entries if entry.kind == "visit_opened/1" and entry.fields["visit_id"] == claim.visit
    ]
    if not found:
        raise NotProven("visit_missing", f"no entry of {claim.origin} opens visit {claim.visit[:60]!r}")
    if len(found) > 1:
        raise NotProven("visit_twice", f"{len(found)} entries of {claim.origin} open visit {claim.visit[:60]!r}")
    return found[0]


def _range(opened: Entry, journal: _Journal) -> tuple[int, int]:
    """First and last place: from the boot to the closing; without one, to the last place that is shown singly."""
    starts = [entry for entry in journal.entries if entry.kind == "boot/1" and entry.n <= opened.n]
    if not starts or starts[-1].boot != opened.boot:
        raise NotProven("range_incomplete", f"the beginning of boot {opened.boot} of {journal.origin} is not shown")
    visit = opened.fields["visit_id"]
    closings = (entry.n for entry in journal.entries if entry.kind == "visit_closed/1" and entry.n > opened.n)
    of_visit = {entry.n for entry in journal.entries if entry.fields.get("visit_id") == visit}
    closed = next((n for n in closings if n in of_visit), None)
    if closed is not None:
        return starts[-1].n, closed
    singly = journal.hidden.union(entry.n for entry in journal.entries)
    last = opened.n
    while last + 1 in singly:
        last += 1
    return starts[-1].n, last


def _bracket(
    claim: ClaimedVisit, opened: Entry, within: list[Entry], last: int, journal: _Journal, registry: RegistryView
) -> tuple[Bracket, SignedCheckpoint]:
    """Times between which the visit's entries were written, and who sealed them."""
    covering = [signed for signed in journal.checkpoints if signed.checkpoint.size > last]
    times = [at for signed in covering if (at := signed.seen_at(registry.county)) is not None]
    if not times:
        raise NotProven("not_covered", f"visit {claim.visit}: no checkpoint that the county cosigned covers its end")
    sealed = next((signed for signed in covering if signed.quorum), None)
    if sealed is None:
        raise NotProven("quorum_missing", f"visit {claim.visit}: not cosigned by all whom the policy asks for")
    anchors = [entry for entry in within if entry.kind == "anchor/1" and entry.n < opened.n]
    bracket = Bracket(_known_at(anchors[-1], journal, registry) if anchors else None, min(times))
    if bracket.width is not None and bracket.width < timedelta():
        raise NotProven("bracket_order", f"visit {claim.visit}: sealed before the checkpoint that its boot knew")
    return bracket, sealed


def _known_at(anchor: Entry, journal: _Journal, registry: RegistryView) -> datetime:
    """Cosigning time of the checkpoint that the anchor names: of the very receipt that the vehicle held."""
    said, signed = anchor.fields, journal.checkpoint(anchor.fields["size"])
    if signed is not None and signed.checkpoint.root.hex() == said["root"]:
        for own in signed.own:
            for line in signed.cosigned.get(registry.county, ()):
                receipt = f"{signed.note.text}\n{own.line()}{line.line()}"
                if sha256(receipt.encode()).hexdigest() == said["receipt_sha256"]:
                    return cosigned_at(line)
    raise NotProven(
        "anchor_mismatch", f"entry {anchor.n} of {journal.origin} names a checkpoint that is not the one shown"
    )


def _decision(claim: ClaimedVisit, registry: RegistryView) -> Decision | None:
    decision = registry.decisions.get(claim.visit)
    return decision if decision is not None and decision.origin == claim.origin else None


def _judged(
    proofs: list[VisitProof], manifest: Manifest, registry: RegistryView
) -> tuple[MonthVerdict, dict[str, VisitProof]]:
    """All visits of the bundle as one month: what belongs together, stands too close or is there twice."""
    month = date.fromisoformat(manifest.month + "-01")
    in_time = sorted(proofs, key=lambda proof: (proof.evidence.opened_at, proof.facts.visit))
    together = compared(merged(in_time))
    for proof in together:
        facts = proof.facts
        if facts.village != manifest.village:
            raise NotProven("village_mismatch", f"visit {facts.visit} is to {facts.village}, not to {manifest.village}")
        if facts.day.replace(day=1) != month:
            raise NotProven("month_mismatch", f"visit {facts.visit} was on {facts.day}, not in {manifest.month}")
    verdict = judge_month(
        manifest.village,
        month,
        [proof.facts for proof in together],
        registry.rules,
        today=end_of_month(month) + LONG_AFTER,
    )
    return verdict, {proof.facts.visit: proof for proof in together}
