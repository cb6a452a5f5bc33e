"""Evidence in the hands of somebody who wants more of it than it says: with every key that he may own but one.

An attacker who owns a vehicle signs again with the vehicle's key, one who owns the county with the county's and the
registry's: ``resealed`` does that as well as it can be done without the province. ``ATTACKS`` is the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from sync.formats import canonical
from sync.formats.merkle import leaf_hash
from sync.formats.notes import ED25519_COSIGNATURE, Checkpoint, Note, SeedSigner, Signature, Signer, VerifierKey, cosign
from sync.keys.vehicle_key import VehicleKey
from sync.proof.bundle_file import BundleUnreadable
from sync.proof.evidence import Bundle, ClaimedVisit, LogPart, NotProven, read_bundle, write_bundle
from sync.verify.bundle_check import BundleReport, check_bundle
from sync.verify.policy import Policy
from tests.sync.county_month import at
from tests.sync.evidence_county import PROVINCE, EvidenceCounty

SEVEN = "van-07.qingyu.example"
STRANGER = SeedSigner("stranger.example", b"s" * 32, ED25519_COSIGNATURE)


@dataclass(frozen=True)
class Case:
    """The evidence of one counted visit, with every key that an attacker may have got hold of."""

    bundle: Bundle
    policy: Policy
    text: str
    report: BundleReport
    vehicle: Signer
    county: Signer
    registry: Signer

    @property
    def journal(self) -> LogPart:
        return self.bundle.journals[SEVEN]

    def with_journal(self, **changes: Any) -> Bundle:
        return replace(self.bundle, journals={SEVEN: replace(self.journal, **changes)})

    def with_registry(self, **changes: Any) -> Bundle:
        return replace(self.bundle, registry=replace(self.bundle.registry, **changes))

    def places(self, kind: str) -> list[int]:
        return [n for n, body in self.journal.entries.items() if canonical.loads(body)["kind"] == kind]


Month = tuple[EvidenceCounty, dict[str, str]]


def case_of(month: Month, name: str) -> Case:
    county, visits = month
    evidence = county.of_visit(visits[name])
    keys = county.county.settings
    cosigner = VehicleKey.load_or_create(keys.key_file, keys.origin, bytes, ED25519_COSIGNATURE)
    registry = VehicleKey.load_or_create(keys.registry_key_file, county.county.registry.origin, bytes)
    policy = Policy.parse(county.policy)
    text, vehicle = county.policy.decode(), county.vans["van-07"].signer
    return Case(read_bundle(evidence.data), policy, text, evidence.report, vehicle, cosigner, registry)


def verdict(bundle: Bundle, policy: Policy) -> str:
    """The code of the fault, "state_mismatch", or "valid"."""
    try:
        report = check_bundle(write_bundle(bundle), policy)
    except (BundleUnreadable, NotProven) as fault:
        return fault.code
    return "state_mismatch" if report.wrong else "valid"


def edited(part: LogPart, n: int, **fields: object) -> dict[int, bytes]:
    said = {**canonical.loads(part.entries[n]), **fields}
    return {**part.entries, n: canonical.dumps(said)}  # type: ignore[arg-type]


def hidden(part: LogPart, places: Iterable[int]) -> LogPart:
    """Shown entries as leaf hashes, as if they held personal data."""
    gone = set(places)
    entries = {n: body for n, body in part.entries.items() if n not in gone}
    hashes = {(0, n): leaf_hash(part.entries[n]) for n in gone}
    return replace(part, entries=entries, hashes={**part.hashes, **hashes})


def resealed(part: LogPart, origin: str, signers: Iterable[Signer]) -> LogPart:
    """New checkpoints of the same sizes over what ``part`` shows now; cosigned at the times of the old ones."""
    tree, notes = part.tree(), {}
    for key, data in part.checkpoints.items():
        old = Note.parse(data)
        size = key or Checkpoint.parse(old.text).size
        times = [int.from_bytes(line.signature[:8], "big") for line in old.signatures if len(line.signature) == 72]
        text = Checkpoint(origin, size, tree.root(size)).text()
        lines = [_signed(text, signer, min(times)) for signer in signers]
        notes[key] = bytes(Note(text, tuple(lines)))
    return replace(part, checkpoints=notes)


def cosigned_again(part: LogPart, size: int, case: Case, seconds: int | None = None) -> LogPart:
    """The registry ``part`` under a new checkpoint, signed and cosigned with all keys.

    :param seconds: POSIX time of the cosignatures; that of the old ones when None
    """
    (old,) = part.checkpoints.values()
    signers = [case.registry, case.county, PROVINCE]
    text = Checkpoint(case.registry.name, size, part.tree().root(size)).text()
    if seconds is not None:
        note = bytes(Note(text, tuple(_signed(text, signer, seconds) for signer in signers)))
        return replace(part, checkpoints={0: note})
    unsigned = replace(part, checkpoints={size: bytes(Note(text, Note.parse(old).signatures))})
    sealed = resealed(unsigned, case.registry.name, signers)
    return replace(sealed, checkpoints={0: sealed.checkpoints[size]})


def _signed(text: str, signer: Signer, seconds: int) -> Signature:
    key = signer.verifier_key()
    if key.algorithm == ED25519_COSIGNATURE:
        return cosign(text, signer, at(9, 1, 0).fromtimestamp(seconds, at(9, 1, 0).tzinfo))
    return Signature(key.name, key.key_id, signer.sign(text.encode()))


def without(data: bytes, *keys: VerifierKey) -> bytes:
    note = Note.parse(data)
    return bytes(Note(note.text, tuple(line for line in note.signatures if not any(key.fits(line) for key in keys))))


def damaged(data: bytes, key: VerifierKey) -> bytes:
    note = Note.parse(data)
    lines = [
        replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1])) if key.fits(line) else line
        for line in note.signatures
    ]
    return bytes(Note(note.text, tuple(lines)))


# the matrix -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """:ivar codes: what it may be refused with"""

    name: str
    make: Callable[[Case], Bundle]
    codes: frozenset[str]


def attack(*codes: str) -> Callable[[Callable[[Case], Bundle]], Attack]:
    return lambda make: Attack(make.__name__.replace("_", " "), make, frozenset(codes))


ATTACKS: list[Attack] = []


def listed(*codes: str) -> Callable[[Callable[[Case], Bundle]], Callable[[Case], Bundle]]:
    def add(make: Callable[[Case], Bundle]) -> Callable[[Case], Bundle]:
        ATTACKS.append(attack(*codes)(make))
        return make

    return add


@listed("root_mismatch")
def edited_staff_id(case: Case) -> Bundle:
    opened = case.places("visit_opened/1")[0]
    crew = canonical.loads(case.journal.entries[opened])["crew"]
    return case.with_journal(entries=edited(case.journal, opened, crew=[{**crew[0], "person": "li.wei"}, *crew[1:]]))


@listed("tree_incomplete")
def deleted_entry(case: Case) -> Bundle:
    gone = case.places("track/1")[10]
    return case.with_journal(entries={n: body for n, body in case.journal.entries.items() if n != gone})


@listed("tree_incomplete", "root_mismatch")
def inserted_entry(case: Case) -> Bundle:
    last = max(case.journal.entries)
    said = {**canonical.loads(case.journal.entries[case.places("encounter_closed/1")[0]]), "n": last + 1}
    return case.with_journal(entries={**case.journal.entries, last + 1: canonical.dumps(said)})


@listed("root_mismatch")
def entry_put_in_the_place_of_a_hidden_one(case: Case) -> Bundle:
    level, place = min(node for node in case.journal.hashes if node[0] == 0)
    said = {**canonical.loads(case.journal.entries[case.places("encounter_closed/1")[0]]), "n": place}
    entries = dict(sorted({**case.journal.entries, place: canonical.dumps(said)}.items()))
    return case.with_journal(
        entries=entries, hashes={node: h for node, h in case.journal.hashes.items() if node != (level, place)}
    )


@listed("root_mismatch")
def back_dated_entry(case: Case) -> Bundle:
    opened = case.places("visit_opened/1")[0]
    return case.with_journal(entries=edited(case.journal, opened, at="2026-08-31T00:23:00.000Z"))


@listed("signature_invalid")
def damaged_signature_of_the_vehicle(case: Case) -> Bundle:
    key = case.vehicle.verifier_key()
    return case.with_journal(checkpoints={s: damaged(note, key) for s, note in case.journal.checkpoints.items()})


@listed("signature_invalid")
def damaged_signature_of_the_county(case: Case) -> Bundle:
    key = case.county.verifier_key()
    return case.with_journal(checkpoints={s: damaged(note, key) for s, note in case.journal.checkpoints.items()})


@listed("signature_invalid")
def damaged_signature_of_the_province_in_the_registry(case: Case) -> Bundle:
    key = PROVINCE.verifier_key()
    return case.with_registry(checkpoints={0: damaged(*case.bundle.registry.checkpoints.values(), key)})


@listed("signature_missing")
def no_signature_of_the_vehicle(case: Case) -> Bundle:
    key = case.vehicle.verifier_key()
    return case.with_journal(checkpoints={s: without(note, key) for s, note in case.journal.checkpoints.items()})


@listed("quorum_missing")
def missing_province_witness(case: Case) -> Bundle:
    key = PROVINCE.verifier_key()
    return case.with_journal(checkpoints={s: without(note, key) for s, note in case.journal.checkpoints.items()})


@listed("quorum_missing")
def missing_province_witness_of_the_registry(case: Case) -> Bundle:
    key = PROVINCE.verifier_key()
    return case.with_registry(checkpoints={0: without(*case.bundle.registry.checkpoints.values(), key)})


@listed("not_covered")
def missing_county(case: Case) -> Bundle:
    key = case.county.verifier_key()
    return case.with_journal(checkpoints={s: without(note, key) for s, note in case.journal.checkpoints.items()})


@listed("root_mismatch")
def another_village_s_area(case: Case) -> Bundle:
    """The county puts a neighbour's outline where the village's stood."""
    part = case.bundle.registry
    villages = {n: canonical.loads(body) for n, body in part.entries.items()}
    own = next(n for n, said in villages.items() if said.get("code") == case.bundle.manifest.village)
    other = next(said for said in villages.values() if "rings" in said and said["code"] != case.bundle.manifest.village)
    return case.with_registry(entries=edited(part, own, rings=other["rings"]))


@listed("village_mismatch", "registry_entry_missing")
def another_village_in_the_manifest(case: Case) -> Bundle:
    part = case.bundle.registry
    codes = [canonical.loads(body).get("code", case.bundle.manifest.village) for body in part.entries.values()]
    other = next(code for code in codes if code != case.bundle.manifest.village)
    return replace(case.bundle, manifest=replace(case.bundle.manifest, village=other))


@listed("quorum_missing")
def weakened_rule_by_the_county_without_the_province(case: Case) -> Bundle:
    """A newer registry with shorter stays, signed by the registry's and the county's own keys."""
    part, size = case.bundle.registry, case.report.registry.signed.checkpoint.size
    index = canonical.loads(part.entries[size - 1])
    rules = {**case.report.registry.rules.as_json(), "dwell_s": 600, "version": 2}
    common = {"at": index["at"], "by": "xu.jing"}
    entry = {**common, "kind": "rules/1", "n": size, "version": 2, "rules": rules}
    entries = {**part.entries, size: canonical.dumps(entry)}
    entries[size + 1] = canonical.dumps({**index, "n": size + 1, "rules": size})
    grown = replace(part, entries=entries)
    text = Checkpoint(case.registry.name, size + 2, grown.tree().root(size + 2)).text()
    note = Note(text, tuple(_signed(text, signer, 1_789_000_000) for signer in (case.registry, case.county)))
    return replace(case.bundle, registry=replace(grown, checkpoints={0: bytes(note)}))


@listed("root_mismatch")
def weakened_rule_in_place(case: Case) -> Bundle:
    part = case.bundle.registry
    index = max(part.entries)
    return case.with_registry(entries=edited(part, index, rules=0))


@listed("index_missing")
def hidden_newer_index(case: Case) -> Bundle:
    part = case.bundle.registry
    return replace(case.bundle, registry=hidden(part, [max(part.entries)]))


@listed("registry_entry_missing")
def hidden_village_list(case: Case) -> Bundle:
    part = case.bundle.registry
    place = next(n for n, body in part.entries.items() if canonical.loads(body)["kind"] == "village_list/1")
    return replace(case.bundle, registry=hidden(part, [place]))


@listed("registry_entry_missing")
def hidden_neighbour(case: Case) -> Bundle:
    """A village's neighbours decide where it ends: they must be shown."""
    part = case.bundle.registry
    villages = {n: canonical.loads(body) for n, body in part.entries.items()}
    own = case.bundle.manifest.village
    place = next(n for n, said in villages.items() if said["kind"] == "village/1" and said["code"] != own)
    return replace(case.bundle, registry=hidden(part, [place]))


@listed("registry_entry_missing")
def hidden_vehicle(case: Case) -> Bundle:
    part = case.bundle.registry
    place = next(n for n, body in part.entries.items() if canonical.loads(body)["kind"] == "vehicle/1")
    return replace(case.bundle, registry=hidden(part, [place]))


@listed("anchor_mismatch")
def wrong_bracket_with_the_named_checkpoint_left_out(case: Case) -> Bundle:
    first = min(case.journal.checkpoints)
    anchor = canonical.loads(case.journal.entries[case.places("anchor/1")[-1]])["size"]
    assert first <= anchor
    return case.with_journal(checkpoints={s: n for s, n in case.journal.checkpoints.items() if s != anchor})


@listed("anchor_mismatch")
def wrong_bracket_with_a_receipt_of_another_time(case: Case) -> Bundle:
    """The county cosigns the named checkpoint again, later, so that T1 moves up."""
    anchor = canonical.loads(case.journal.entries[case.places("anchor/1")[-1]])["size"]
    note = Note.parse(without(case.journal.checkpoints[anchor], case.county.verifier_key()))
    again = note.signed_also([cosign(note.text, case.county, at(9, 1, 12))])
    return case.with_journal(checkpoints={**case.journal.checkpoints, anchor: bytes(again)})


@listed("root_mismatch")
def wrong_bracket_with_a_changed_anchor(case: Case) -> Bundle:
    return case.with_journal(entries=edited(case.journal, case.places("anchor/1")[-1], size=1))


@listed("visit_twice")
def same_visit_twice_in_the_manifest(case: Case) -> Bundle:
    claims = case.bundle.manifest.visits
    return replace(case.bundle, manifest=replace(case.bundle.manifest, visits=claims * 2))


@listed("visit_missing")
def same_visit_under_another_name(case: Case) -> Bundle:
    claims = case.bundle.manifest.visits
    again = ClaimedVisit("another", SEVEN, "counted")
    return replace(case.bundle, manifest=replace(case.bundle.manifest, visits=(*claims, again)))


@listed("visit_twice", "not_covered", "signature_missing", "quorum_missing")
def same_visit_opened_twice_in_the_journal(case: Case) -> Bundle:
    """The vehicle copies the opening over its duty entry and signs everything again."""
    opened, confirmed = case.places("visit_opened/1")[0], case.places("village_confirmed/1")[0]
    said = {**canonical.loads(case.journal.entries[opened]), "n": confirmed}
    changed = replace(case.journal, entries={**case.journal.entries, confirmed: canonical.dumps(said)})
    return replace(case.bundle, journals={SEVEN: resealed(changed, SEVEN, [case.vehicle])})


@listed("not_covered")
def full_rewrite_with_the_vehicle_s_own_key(case: Case) -> Bundle:
    opened = case.places("visit_opened/1")[0]
    changed = replace(case.journal, entries=edited(case.journal, opened, at="2026-08-25T00:23:00.000Z"))
    return replace(case.bundle, journals={SEVEN: resealed(changed, SEVEN, [case.vehicle])})


@listed("anchor_mismatch", "quorum_missing")
def full_rewrite_with_the_keys_of_vehicle_and_county(case: Case) -> Bundle:
    opened = case.places("visit_opened/1")[0]
    changed = replace(case.journal, entries=edited(case.journal, opened, at="2026-08-25T00:23:00.000Z"))
    return replace(case.bundle, journals={SEVEN: resealed(changed, SEVEN, [case.vehicle, case.county])})


@listed("root_mismatch")
def old_checkpoints_over_a_rewritten_journal(case: Case) -> Bundle:
    return case.with_journal(entries=edited(case.journal, case.places("boot/1")[0], software="0.0.1"))


@listed("signature_missing")
def cloned_vehicle_under_a_stranger_s_key(case: Case) -> Bundle:
    clone = SeedSigner(SEVEN, b"x" * 32)
    return replace(case.bundle, journals={SEVEN: resealed(case.journal, SEVEN, [clone, case.county, PROVINCE])})


@listed("range_incomplete")
def hidden_beginning_of_the_boot(case: Case) -> Bundle:
    return replace(case.bundle, journals={SEVEN: hidden(case.journal, case.places("boot/1"))})


@listed("visit_missing")
def hidden_opening(case: Case) -> Bundle:
    return replace(case.bundle, journals={SEVEN: hidden(case.journal, case.places("visit_opened/1"))})


@listed("state_mismatch")
def hidden_encounters(case: Case) -> Bundle:
    return replace(case.bundle, journals={SEVEN: hidden(case.journal, case.places("encounter_closed/1"))})


@listed("state_mismatch")
def hidden_track_entry(case: Case) -> Bundle:
    places = case.places("track/1")
    return replace(case.bundle, journals={SEVEN: hidden(case.journal, [places[len(places) // 2]])})


@listed("month_mismatch")
def another_month(case: Case) -> Bundle:
    return replace(case.bundle, manifest=replace(case.bundle.manifest, month="2026-10"))


@listed("practice_mismatch")
def the_real_thing_as_practice(case: Case) -> Bundle:
    return replace(case.bundle, manifest=replace(case.bundle.manifest, practice=True))


@listed("state_mismatch")
def another_verdict_in_the_manifest(case: Case) -> Bundle:
    claims = tuple(replace(claim, state="review") for claim in case.bundle.manifest.visits)
    return replace(case.bundle, manifest=replace(case.bundle.manifest, visits=claims))


@listed("origin_mismatch")
def another_county_in_the_manifest(case: Case) -> Bundle:
    return replace(case.bundle, manifest=replace(case.bundle.manifest, county="county.other.example"))
