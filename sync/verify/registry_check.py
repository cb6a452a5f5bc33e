"""What a bundle shows of the county's registry: what is in force, and nothing newer hidden. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sync.formats.notes import Checkpoint, Note, NoteRefused, VerifierKey
from sync.proof.areas import Village
from sync.proof.coverage import Rules
from sync.proof.evidence import LogPart, Manifest, NotProven
from sync.proof.registry_entries import ORIGIN_PREFIX, RegistryUnreadable, is_registry, read_registry_entry
from sync.proof.registry_state import Decision, RegisteredVehicle, RegistryState, SealedVillage
from sync.verify.checkpoints import SignedCheckpoint, check_signatures, read_checkpoint
from sync.verify.policy import Policy
from sync.verify.rules_check import RulesDue, RulesWitnessed


@dataclass(frozen=True)
class RegistryFacts:
    """What the registry says about one village and month: all that a verdict takes.

    :ivar areas: the village, all its areas in time, oldest first, and its neighbours
    :ivar sealed: what the sealed verdict of the month says about the village; None while it is not sealed
    :ivar rules_due: None when the month is judged by the programme's defaults
    """

    state: RegistryState
    areas: tuple[Village, ...]
    rules: Rules
    decisions: Mapping[str, Decision]
    vehicles: Mapping[str, RegisteredVehicle]
    sealed: SealedVillage | None
    rules_due: RulesDue | None

    @classmethod
    def read(cls, state: RegistryState, manifest: Manifest, origins: Sequence[str]) -> RegistryFacts:
        """Ask ``state`` for everything; the entries that it reads for this are those that a bundle must show.

        :raises RegistryUnreadable: an entry is not there, or not of the kind that the index says
        :raises NotProven: village_unknown, vehicle_unknown
        """
        month = date.fromisoformat(manifest.month + "-01")
        areas = state.villages_around(manifest.village)
        if not areas or areas[0].code != manifest.village:
            raise NotProven("village_unknown", f"the registry has no area of village {manifest.village}")
        state.waivers(month)
        return cls(
            state,
            areas,
            state.rules_of(month),
            state.reviews(month),
            {origin: _vehicle(state, origin) for origin in origins},
            _sealed(state, manifest),
            RulesDue.of(state, month),
        )


@dataclass(frozen=True)
class RegistryView(RegistryFacts):
    """The same as a bundle proves it.

    :ivar county: key name of the county's cosigner
    :ivar keys: of each vehicle, in the order of ``vehicles[origin].keys``
    :ivar rules_witnessed: None when the month is judged by the programme's defaults
    """

    signed: SignedCheckpoint
    county: str
    keys: Mapping[str, tuple[VerifierKey, ...]]
    rules_witnessed: RulesWitnessed | None

    @property
    def own(self) -> Village:
        """The village in its newest form."""
        return [area for area in self.areas if area.code == self.areas[0].code][-1]

    def around(self, code: str) -> tuple[Village, ...]:
        """The village that a visit named, and its neighbours. :raises NotProven: registry_entry_missing"""
        if code == self.areas[0].code:
            return self.areas
        try:
            return self.state.villages_around(code)
        except RegistryUnreadable as fault:
            raise NotProven("registry_entry_missing", str(fault)) from None

    def keys_at(self, origin: str, size: int) -> list[VerifierKey]:
        """Keys that sign checkpoints of ``size`` entries. :raises NotProven: key_not_valid_at_size"""
        vehicle = self.vehicles[origin]
        if vehicle.revoked is not None and size > vehicle.revoked.size:
            raise NotProven(
                "key_not_valid_at_size", f"{origin}: size {size}, but revoked from size {vehicle.revoked.size} on"
            )
        ranges = zip(vehicle.keys, self.keys[origin], strict=True)
        return [
            key
            for valid, key in ranges
            if valid.from_size <= size and (valid.until_size is None or size <= valid.until_size)
        ]


def check_registry(
    part: LogPart, manifest: Manifest, origins: Sequence[str], policy: Policy, rules_checkpoint: bytes | None = None
) -> RegistryView:
    """:raises NotProven: whatever of docs/evidence.md, section 4, steps 2 to 4 does not hold"""
    signed, county = _checked_checkpoint(part, manifest, policy)
    shown = [signed, *_earlier(rules_checkpoint, part, signed, policy)]
    state = _state(part, signed.checkpoint.size)
    try:
        facts = RegistryFacts.read(state, manifest, origins)
    except RegistryUnreadable as fault:
        raise NotProven("registry_entry_missing", str(fault)) from None
    keys = {origin: _keys(vehicle) for origin, vehicle in facts.vehicles.items()}
    _refuse_shared(policy, keys)
    witnessed = RulesWitnessed.among(facts.rules_due, shown, county) if facts.rules_due is not None else None
    said = (facts.state, facts.areas, facts.rules, facts.decisions, facts.vehicles, facts.sealed, facts.rules_due)
    return RegistryView(*said, signed, county, keys, witnessed)


def _checked_checkpoint(part: LogPart, manifest: Manifest, policy: Policy) -> tuple[SignedCheckpoint, str]:
    where = "registry/checkpoint"
    (data,) = part.checkpoints.values()
    note, checkpoint = read_checkpoint(data, where)
    logs = [key for key in policy.logs if key.name == checkpoint.origin]
    county = checkpoint.origin.removeprefix(ORIGIN_PREFIX)
    if not logs or not is_registry(checkpoint.origin):
        raise NotProven("origin_mismatch", f"the policy knows no registry {checkpoint.origin[:100]!r}")
    if county != manifest.county or not any(key.name == county for key in policy.witnesses.values()):
        raise NotProven("origin_mismatch", f"{manifest.county[:100]!r} is not the county of {checkpoint.origin[:99]!r}")
    signed = _cosigned(note, checkpoint, logs, policy, where)
    tree = part.tree()
    if tree.size != checkpoint.size:
        raise NotProven("tree_incomplete", f"the registry shows {tree.size} places of {checkpoint.size}")
    if tree.root(checkpoint.size) != checkpoint.root:
        raise NotProven("root_mismatch", f"{where}: the entries and hashes give another root")
    return signed, county


def _earlier(data: bytes | None, part: LogPart, newest: SignedCheckpoint, policy: Policy) -> Iterable[SignedCheckpoint]:
    """The older checkpoint of the same registry, when there is one."""
    if data is None:
        return
    where = "registry/rules-checkpoint"
    note, checkpoint = read_checkpoint(data, where)
    origin, size = newest.checkpoint.origin, newest.checkpoint.size
    if checkpoint.origin != origin or not 0 < checkpoint.size <= size:
        raise NotProven("origin_mismatch", f"{where} is no earlier checkpoint of {origin}")
    signed = _cosigned(note, checkpoint, [key for key in policy.logs if key.name == origin], policy, where)
    if part.tree().root(checkpoint.size) != checkpoint.root:
        raise NotProven("root_mismatch", f"{where}: the entries and hashes give another root")
    yield signed


def _cosigned(
    note: Note, checkpoint: Checkpoint, logs: Sequence[VerifierKey], policy: Policy, where: str
) -> SignedCheckpoint:
    signed = check_signatures(note, checkpoint, logs, policy, where)
    if not signed.quorum:
        raise NotProven("quorum_missing", f"{where} is not cosigned by all whom the policy asks for")
    return signed


def _state(part: LogPart, size: int) -> RegistryState:
    try:
        entries = [read_registry_entry(body, n) for n, body in part.entries.items()]
    except RegistryUnreadable as fault:
        raise NotProven("registry_entry_wrong", str(fault)) from None
    if entries[-1].n != size - 1 or entries[-1].kind != "index/1":
        raise NotProven("index_missing", f"the last of {size} entries of the registry is not shown, or is no index")
    return RegistryState.shown(entries)


def _vehicle(state: RegistryState, origin: str) -> RegisteredVehicle:
    vehicle = state.vehicle(origin)
    if vehicle is None or vehicle.origin != origin:
        raise NotProven("vehicle_unknown", f"the registry has no vehicle {origin}")
    return vehicle


def _keys(vehicle: RegisteredVehicle) -> tuple[VerifierKey, ...]:
    try:
        keys = tuple(VerifierKey.parse(valid.key) for valid in vehicle.keys)
    except NoteRefused as fault:
        raise NotProven("registry_entry_wrong", f"key of {vehicle.origin}: {fault}") from None
    for key in keys:
        if key.name != vehicle.origin:
            raise NotProven("registry_entry_wrong", f"the registry gives {vehicle.origin} a key of {key.name}")
    return keys


def _refuse_shared(policy: Policy, keys: Mapping[str, tuple[VerifierKey, ...]]) -> None:
    """One key, one role: a cosignature does not say whose it is."""
    roles = [(f"log {key.name}", key) for key in policy.logs]
    roles += [(f"witness {key.name}", key) for key in policy.witnesses.values()]
    roles += [(f"vehicle {origin}", key) for origin, found in keys.items() for key in found]
    seen: dict[bytes, str] = {}
    for role, key in roles:
        other = seen.setdefault(key.public_key, role)
        if other != role:
            raise NotProven("key_in_two_roles", f"{other} and {role} have the same key")


def _sealed(state: RegistryState, manifest: Manifest) -> SealedVillage | None:
    place = state.index.verdicts.get(manifest.month, {}).get(manifest.village[:9])
    if place is None:
        return None
    verdict = state.verdict_at(place)
    return verdict.villages.get(manifest.village) if verdict.practice == manifest.practice else None
