"""Enrolled vehicles and their journal keys: what the county's registry says of them.

Each key signs a range of sizes of its journal. A key that was changed or revoked stays valid for the sizes that it
signed in its time, so what was delivered stays evidence. The table ``vehicles`` only keeps when a vehicle was enrolled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from devices.clock import Clock
from devices.errors import AskPerson
from devices.events import emit
from sync.county.database import Database
from sync.county.registry import Registry
from sync.county.schema import logs, vehicles
from sync.formats.notes import ED25519, NoteRefused, VerifierKey
from sync.formats.records import format_time
from sync.keys.key_statements import KeyChange, is_origin
from sync.proof.registry_entries import RegistryDraft, is_registry
from sync.proof.registry_state import KeyRange, RegisteredVehicle, RegistryState, Revocation

COMMAND_LINE = "command-line"
REASON_LETTERS = (2, 200)

Roles = Callable[[], Iterable[tuple[str, VerifierKey]]]


class EnrolmentRefused(AskPerson):
    """The vehicle cannot be enrolled, or its key not changed or revoked, as asked; the message says why.

    :ivar problem: the same as one word, for the fleet page in its languages; ``facts`` fill the words in
    """

    code = "enrolment_refused"

    def __init__(self, message: str, problem: str, **facts: object) -> None:
        super().__init__(message)
        self.problem = problem
        self.facts = {name: str(fact)[:100] for name, fact in facts.items()}


class KeyNotValid(ValueError):
    """No key signs this journal at this size; the message says why."""


@dataclass(frozen=True, slots=True)
class EnrolledVehicle:
    """:ivar origin: name of its journal, e.g. "van-07.qingxi.example"
    :ivar vehicle: short id shown to people, e.g. "van-07"; the same for a journal that goes on from another
    :ivar vkey: its present key, the last of ``keys``
    :ivar succeeds: the journal that this one goes on from, whose key was lost
    """

    origin: str
    vkey: str
    vehicle: str
    plate: str
    enrolled_at: datetime
    keys: tuple[KeyRange, ...]
    revoked: Revocation | None = None
    succeeds: str | None = None

    @property
    def revoked_at(self) -> datetime | None:
        return self.revoked.at if self.revoked is not None else None

    @property
    def key(self) -> VerifierKey:
        return VerifierKey.parse(self.vkey)


class Fleet:
    """:param roles: the keys of the county itself, with their roles in words: no vehicle may have one of them"""

    def __init__(self, database: Database, registry: Registry, clock: Clock, roles: Roles = tuple) -> None:
        self._database = database
        self._registry = registry
        self._clock = clock
        self._roles = roles

    def carry_over(self) -> int:
        """Write those into the registry that were enrolled before it was a log; returns how many. Repeating is idle."""
        known = self._registry.state().index.vehicles
        older = [row for row in self._database.rows(select(vehicles)) if row["origin"] not in known]

        def change(state: RegistryState, _: int) -> list[RegistryDraft]:
            return [self._carried(row) for row in older if row["origin"] not in state.index.vehicles]

        return len(self._registry.change(change, COMMAND_LINE)) if older else 0

    def _carried(self, row: dict[str, Any]) -> RegistryDraft:
        ended, size = row["revoked_at"], self._log(row["origin"])["mirror_size"]
        revoked = Revocation(size, ended, "revoked") if ended is not None else None
        key = KeyRange(row["vkey"], 0)
        return _draft(RegisteredVehicle(row["origin"], row["vehicle"], row["plate"], (key,), revoked))

    # changes --------------------------------------------------------------------------------------------------------

    def enrol(
        self,
        origin: str,
        vkey: str,
        vehicle: str = "",
        plate: str = "",
        succeeds: str | None = None,
        by: str = COMMAND_LINE,
    ) -> EnrolledVehicle:
        """Trust ``vkey`` for the journal ``origin`` from now on. The same again changes nothing.

        :param succeeds: the journal that this one goes on from; its key is revoked at what the county has of it
        :raises EnrolmentRefused: not a journal key of this origin, or the origin has another key already
        """
        key = _journal_key(origin, vkey)
        named = vehicle or origin.partition(".")[0]
        now = self._clock.now()

        def change(state: RegistryState, _: int) -> list[RegistryDraft]:
            known = state.vehicle(origin)
            if known is not None:
                if known.revoked is None and known.keys[-1].key == str(key):
                    return []
                raise EnrolmentRefused(
                    f"{origin} has a key already: a vehicle with a new key gets a new origin", "has_key", what=origin
                )
            self._refuse_known(state, key)
            before = self._succeeded(state, succeeds, origin, now) if succeeds else []
            first = KeyRange(str(key), 0)
            return [*before, _draft(RegisteredVehicle(origin, named, plate, (first,), None, succeeds))]

        if self._registry.change(change, by):
            self._remember(origin)
            emit("vehicle_enrolled", origin=origin)
        enrolled = self.get(origin)
        assert enrolled is not None, "the registry has just said so"
        return enrolled

    def rotate(self, asked: KeyChange) -> bool:
        """Take a change of key, proven by both keys; False when it was taken before.

        :raises EnrolmentRefused: not of the present key of a vehicle in service, or against what the county has
        """
        origin = asked.origin

        def change(state: RegistryState, _: int) -> list[RegistryDraft]:
            known = state.vehicle(origin)
            if known is None:
                raise EnrolmentRefused(f"{origin} is not enrolled here", "not_enrolled", what=origin)
            if known.revoked is not None:
                raise EnrolmentRefused(
                    f"the key of {origin} is revoked: it names no other key any more", "revoked", what=origin
                )
            *earlier, present = known.keys
            if any(key.key == str(asked.new) and key.from_size == asked.from_size for key in known.keys):
                return []
            if present.key != str(asked.old):
                raise EnrolmentRefused(f"{origin} is signed by another key now", "other_key", what=origin)
            if asked.from_size <= max(present.from_size, self._log(origin)["pending_size"]):
                raise EnrolmentRefused(
                    f"the county has checkpoints of {origin} of {asked.from_size} entries and more by the old key",
                    "signed_by_old",
                    what=origin,
                )
            self._refuse_known(state, asked.new)
            ended = KeyRange(present.key, present.from_size, asked.from_size - 1)
            keys = (*earlier, ended, KeyRange(str(asked.new), asked.from_size))
            return [_draft(RegisteredVehicle(origin, known.vehicle, known.plate, keys, None, known.succeeds))]

        taken = bool(self._registry.change(change, origin))
        if taken:
            emit("key_changed", origin=origin, size=asked.from_size)
        return taken

    def revoke(
        self, origin: str, reason: str = "revoked", size: int | None = None, by: str = COMMAND_LINE
    ) -> EnrolledVehicle:
        """Take nothing more from this vehicle's key. Its first ``size`` entries stay valid; later ones count no more.

        :param size: at most what the county has; all that is under receipt when None. A later call may only lower it.
        :raises EnrolmentRefused: not enrolled, no reason, or more entries than the county has
        """
        said = reason.strip()
        if not REASON_LETTERS[0] <= len(said) <= REASON_LETTERS[1]:
            raise EnrolmentRefused("say why, in 2 to 200 letters: it stands in the registry for good", "no_reason")
        now = self._clock.now()

        def change(state: RegistryState, _: int) -> list[RegistryDraft]:
            known = state.vehicle(origin)
            if known is None:
                raise EnrolmentRefused(f"{origin[:100]!r} is not enrolled", "not_enrolled", what=origin)
            return [self._revoked(known, said, size, now)]

        (entry, *_) = self._registry.change(change, by)
        emit("key_revoked", origin=origin, size=entry.fields["revoked"]["size"])
        revoked = self.get(origin)
        assert revoked is not None, "the registry has just said so"
        return revoked

    def _revoked(self, known: RegisteredVehicle, reason: str, size: int | None, now: datetime) -> RegistryDraft:
        has = self._log(known.origin)
        last = has["mirror_size"] if size is None else size
        most = has["pending_size"] if known.revoked is None else known.revoked.size
        if known.revoked is not None and size is None:
            raise EnrolmentRefused(f"the key of {known.origin} is revoked already", "revoked", what=known.origin)
        if not 0 <= last <= most:
            raise EnrolmentRefused(
                f"{known.origin}: the last size can be 0 to {most}, not {last}", "size", what=last, most=most
            )
        revocation = Revocation(last, now, reason)
        return _draft(
            RegisteredVehicle(known.origin, known.vehicle, known.plate, known.keys, revocation, known.succeeds)
        )

    def _succeeded(self, state: RegistryState, succeeds: str, by: str, now: datetime) -> list[RegistryDraft]:
        """What has to be written of the journal that another one goes on from."""
        known = state.vehicle(succeeds)
        if known is None:
            raise EnrolmentRefused(
                f"{succeeds[:100]!r}, which this journal goes on from, was never enrolled",
                "never_enrolled",
                what=succeeds,
            )
        if any(other.succeeds == succeeds for other in state.vehicles().values()):
            raise EnrolmentRefused(f"another journal goes on from {succeeds} already", "succeeded", what=succeeds)
        return [] if known.revoked is not None else [self._revoked(known, f"goes on as {by}", None, now)]

    def _refuse_known(self, state: RegistryState, key: VerifierKey) -> None:
        """One key has one role: not a second vehicle's, not the county's, not one that was given up."""
        for vehicle in state.vehicles().values():
            if any(VerifierKey.parse(known.key).public_key == key.public_key for known in vehicle.keys):
                raise EnrolmentRefused(
                    f"the key is known as one of {vehicle.origin}: make a new key on the vehicle",
                    "key_of_vehicle",
                    what=vehicle.origin,
                )
        for role, known in self._roles():
            if known.public_key == key.public_key:
                raise EnrolmentRefused(f"the key is that of {role}: make a new key on the vehicle", "key_of_county")

    def _remember(self, origin: str) -> None:
        known = self._registry.vehicle(origin)
        assert known is not None
        row = {"origin": origin, "vkey": known.keys[-1].key, "vehicle": known.vehicle, "plate": known.plate}
        with self._database.write() as connection:
            self._database.upsert(connection, vehicles, [{**row, "enrolled_at": self._clock.now()}])

    # reading --------------------------------------------------------------------------------------------------------

    def get(self, origin: str) -> EnrolledVehicle | None:
        known = self._registry.vehicle(origin)
        if known is None:
            return None
        row = self._database.row(select(vehicles.c.enrolled_at).where(vehicles.c.origin == origin))
        return _enrolled(known, row["enrolled_at"] if row else self._written_at(origin))

    def all(self) -> list[EnrolledVehicle]:
        """Every vehicle that was ever enrolled, by origin."""
        since = {row["origin"]: row["enrolled_at"] for row in self._database.rows(select(vehicles))}
        known = sorted(self._registry.state().vehicles().items())
        return [_enrolled(said, since.get(origin) or self._written_at(origin)) for origin, said in known]

    def verifier(self, origin: str) -> VerifierKey | None:
        """The present key of ``origin``; None when it is not enrolled or revoked."""
        known = self._registry.vehicle(origin)
        return VerifierKey.parse(known.keys[-1].key) if known is not None and known.revoked is None else None

    def request_key(self, origin: str) -> VerifierKey | None:
        """The key whose requests are served: the present one; a revoked one while entries are due that still count."""
        known = self._registry.vehicle(origin)
        if known is None or (known.revoked is not None and self._log(origin)["mirror_size"] >= known.revoked.size):
            return None
        return VerifierKey.parse(known.keys[-1].key)

    def key_at(self, origin: str, size: int) -> VerifierKey:
        """The key that signs the checkpoint of ``size`` entries.

        :raises KeyNotValid: none does
        """
        known = self._registry.vehicle(origin)
        if known is None:
            raise KeyNotValid(f"{origin[:100]} is not enrolled here")
        if known.revoked is not None and size > known.revoked.size:
            raise KeyNotValid(f"the key of {origin} is revoked: nothing above {known.revoked.size} entries is taken")
        for key in known.keys:
            if key.from_size <= size and (key.until_size is None or size <= key.until_size):
                return VerifierKey.parse(key.key)
        raise KeyNotValid(f"no key of {origin} signs {size} entries")

    def lineage(self, origin: str) -> tuple[str, ...]:
        """The journals of one vehicle, the first one first: ``origin``, what it goes on from, what goes on from it."""
        known = self._registry.state().vehicles()
        follows = {vehicle.succeeds: name for name, vehicle in known.items() if vehicle.succeeds}
        line = [origin]
        while (before := known[line[0]].succeeds if line[0] in known else None) and before not in line:
            line.insert(0, before)
        while (after := follows.get(line[-1])) and after not in line:
            line.append(after)
        return tuple(line)

    def _written_at(self, origin: str) -> datetime:
        state = self._registry.state()
        return state.read(state.index.vehicles[origin]).at

    def _log(self, origin: str) -> dict[str, int]:
        row = self._database.row(select(logs.c.pending_size, logs.c.mirror_size).where(logs.c.origin == origin))
        return dict(row) if row is not None else {"pending_size": 0, "mirror_size": 0}


def _journal_key(origin: str, vkey: str) -> VerifierKey:
    if not is_origin(origin) or is_registry(origin):
        raise EnrolmentRefused(
            f"origin {origin[:100]!r}: use a host name such as van-07.qingxi.example", "not_origin", what=origin
        )
    try:
        key = VerifierKey.typed(vkey)
    except NoteRefused as fault:
        raise EnrolmentRefused(f"{fault}: copy the whole line that the vehicle shows", "not_key") from None
    if key.name != origin:
        raise EnrolmentRefused(f"the key is of {key.name}, not of {origin}: check which vehicle you enrol", "not_key")
    if key.algorithm != ED25519:
        raise EnrolmentRefused(
            f"the key of {origin} is a cosigner's key, not a journal's: take the vehicle's line", "not_key"
        )
    return key


def _draft(vehicle: RegisteredVehicle) -> RegistryDraft:
    fields: dict[str, Any] = {"origin": vehicle.origin, "vehicle": vehicle.vehicle, "plate": vehicle.plate}
    fields["keys"] = [
        {"key": key.key, "from_size": key.from_size}
        | ({} if key.until_size is None else {"until_size": key.until_size})
        for key in vehicle.keys
    ]
    if vehicle.revoked is not None:
        revoked = vehicle.revoked
        fields["revoked"] = {"size": revoked.size, "at": format_time(revoked.at), "reason": revoked.reason}
    if vehicle.succeeds is not None:
        fields["succeeds"] = vehicle.succeeds
    return RegistryDraft("vehicle/1", fields)


def _enrolled(known: RegisteredVehicle, since: datetime) -> EnrolledVehicle:
    return EnrolledVehicle(
        origin=known.origin,
        vkey=known.keys[-1].key,
        vehicle=known.vehicle,
        plate=known.plate,
        enrolled_at=since,
        keys=known.keys,
        revoked=known.revoked,
        succeeds=known.succeeds,
    )
