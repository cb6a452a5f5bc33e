"""Encounters: who is being served now, and who waits.

One person at a time. The open encounter and the queue live in the journal's tables, so a restart finds them again; the
queue belongs to the open visit and ends with it. A card laid down while nobody is served opens the encounter; while
somebody is served the person is put in the queue and offered, never mixed up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import AskPerson, XunzhenError
from devices.events import emit
from devices.readings import IdentityCard, Stamped
from sync.formats.records import Draft, format_time, parse_time
from vehicle.clinic.people import PatientView, People
from vehicle.clinic.ports import Ids, Journal, Listenable, Live, Visits
from vehicle.clinic.staff import Person
from vehicle.clinic.turns import Turns
from vehicle.clinic.views import plain

EMERGENCY = "emergency"
"""Purpose of an encounter that emergency mode opened."""
CARD_WAITS_S = 300.0
"""How long a card laid down before a sign-in waits for it; later its person has surely gone."""


class NoVisit(AskPerson):
    """People are served during a visit: start the visit first."""

    code = "no_visit_open"


class CriticalOpen(AskPerson):
    """A red value was not dealt with; ``facts["readings"]`` names them."""

    code = "critical_open"


class SignedIn(Protocol):
    """The part of ``Staff`` that is asked here."""

    @property
    def listeners(self) -> list[Callable[[Person], None]]: ...

    def signed_in(self) -> Person | None: ...


@dataclass(frozen=True, slots=True)
class EncounterView:
    encounter: str
    patient: PatientView
    opened_at: datetime
    purpose: str
    visit: str | None


@dataclass(frozen=True, slots=True)
class QueueItem:
    number: int
    """Order of arrival in this visit, from 1; stays with the person."""
    patient: PatientView
    since: datetime
    waiting_s: int


class Encounters:
    def __init__(
        self, store: Journal, ids: Ids, clock: Clock, live: Live, people: People, staff: SignedIn, visits: Visits
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._live = live
        self._people = people
        self._staff = staff
        self._visits = visits
        self._offered: str | None = None
        self._card: tuple[IdentityCard, float] | None = None
        """The card that waits for a sign-in, and when it was laid down (monotonic)."""
        self._turns = Turns("cards", self._refused)
        self._queue: tuple[str, list[tuple[int, str, datetime]]] | None = None
        """(visit, its queue) as last read; None after a change."""
        self._changing = asyncio.Lock()
        """Two taps, or a tap and a card, must not open two encounters."""
        self.unanswered: Callable[[], list[str]] = list
        """Readings of the person being served that are red and not dealt with; set by ``Measurements``."""
        self.listeners: list[Callable[[EncounterView | None], None]] = []
        """Told whom the van now serves, before the screens are."""

    def listen(self, feed: Listenable) -> None:
        """From now on a card on the reader registers, opens, queues or offers; before a sign-in it waits for one."""
        feed.on("identity_card", self._on_card, "encounters")
        self._staff.listeners.append(self._on_sign_in)

    # what is

    def current(self) -> EncounterView | None:
        """Whoever is being served, as the journal says; None between people and when the visit has ended.

        Outside a visit only an emergency is an encounter.
        """
        visit = self._visits.current()
        rows = self._store.read(
            "SELECT * FROM encounters WHERE visit IS ? AND closed_at IS NULL ORDER BY encounter DESC LIMIT 1",
            (visit.visit if visit else None,),
        )
        return self._view(rows[0]) if rows else None

    def get(self, encounter: str) -> EncounterView | None:
        """Any encounter, also one that is closed."""
        rows = self._store.read("SELECT * FROM encounters WHERE encounter = ?", (encounter,))
        return self._view(rows[0]) if rows else None

    def queue(self) -> list[QueueItem]:
        """Who waits in this visit, in order of arrival."""
        now = self._clock.now()
        return [
            QueueItem(number, self._people.get(patient), since, max(0, int((now - since).total_seconds())))
            for number, patient, since in self._waiting()
        ]

    def offered(self) -> PatientView | None:
        """The person of the last card that could not be served at once."""
        return self._people.get(self._offered) if self._offered else None

    # what is done

    async def open(self, patient: str, by: str, purpose: str = "") -> EncounterView:
        """Serve this person; closes the encounter before in the same commit. The same person again changes nothing.

        :raises NoVisit: no visit is open
        :raises CriticalOpen: a red value of the person before is not dealt with
        :raises NobodyFound: no such person
        """
        async with self._changing:
            visit = self._visits.current()
            if visit is None:
                raise NoVisit("start the visit first, then serve people")
            view = self._people.get(patient)
            before = self.current()
            if before is not None and before.patient.patient == patient:
                self._withdraw_offer(patient)
                return before
            drafts = self._closing(before, by)
            if any(waiting == patient for _, waiting, _ in self._waiting()):
                drafts.append(Draft("access/1", {"action": "unqueued", "what": patient}, by=by, visit=visit.visit))
            encounter = self._ids.new("encounter")
            fields = {"encounter_id": encounter, "patient": patient, "purpose": purpose}
            drafts.append(Draft("encounter/1", fields, by=by, visit=visit.visit, encounter=encounter))
            await self._store.commit(*drafts)
            self._queue = None
            if before is not None:
                emit("encounter_closed", encounter=before.encounter)
            emit("encounter_opened", encounter=encounter)
            self._withdraw_offer(patient)
            opened = self.get(encounter)
            if opened is None:
                raise LookupError(f"{encounter} was committed for {view.patient} but is not in the tables")
            self._tell(opened)
            return opened

    async def open_emergency(self, patient: str, by: str | None) -> EncounterView:
        """Serve somebody in danger at once, inside a visit or not: whoever was served before is served again after it.

        :raises NobodyFound: no such person
        """
        async with self._changing:
            visit = self._visits.current()
            encounter = self._ids.new("encounter")
            fields = {"encounter_id": encounter, "patient": patient, "purpose": EMERGENCY}
            opened = Draft("encounter/1", fields, by=by, visit=visit.visit if visit else None, encounter=encounter)
            await self._store.commit(opened)
            emit("encounter_opened", encounter=encounter)
            view = self.get(encounter)
            if view is None:
                raise LookupError(f"{encounter} was committed for {patient} but is not in the tables")
            self._tell(view)
            return view

    async def close_emergency(self, encounter: str, by: str) -> None:
        """The end of what ``open_emergency`` opened; what was done about red values is told by the emergency."""
        async with self._changing:
            before = self.get(encounter)
            if before is None or before.purpose != EMERGENCY:
                return
            fields = {"encounter_id": encounter, "opened_at": format_time(before.opened_at)}
            await self._store.commit(
                Draft("encounter_closed/1", fields, by=by, visit=before.visit, encounter=encounter)
            )
            emit("encounter_closed", encounter=encounter)
            self._tell(self.current())

    async def close(self, by: str) -> None:
        """Done with this person; does nothing when nobody is served.

        :raises CriticalOpen: a red value is not dealt with
        """
        async with self._changing:
            before = self.current()
            if before is None:
                return
            await self._store.commit(*self._closing(before, by))
            emit("encounter_closed", encounter=before.encounter)
            self._tell(None)

    async def enqueue(self, patient: str, by: str | None = None) -> list[QueueItem]:
        """Put somebody at the end of the queue; who waits already keeps the place.

        :raises NoVisit: no visit is open
        :raises NobodyFound: no such person
        """
        async with self._changing:
            visit = self._visits.current()
            if visit is None:
                raise NoVisit("start the visit first, then people can queue")
            self._people.get(patient)
            if all(waiting != patient for _, waiting, _ in self._waiting()):
                await self._store.commit(
                    Draft("access/1", {"action": "queued", "what": patient}, by=by, visit=visit.visit)
                )
                self._queue = None
                self._tell(self.current())
            return self.queue()

    async def leave_queue(self, patient: str, by: str) -> list[QueueItem]:
        """Take somebody out of the queue who went home."""
        async with self._changing:
            visit = self._visits.current()
            if visit is not None and any(waiting == patient for _, waiting, _ in self._waiting()):
                await self._store.commit(
                    Draft("access/1", {"action": "unqueued", "what": patient}, by=by, visit=visit.visit)
                )
                self._queue = None
                self._tell(self.current())
            return self.queue()

    async def card(self, card: IdentityCard, by: str) -> EncounterView | None:
        """What a card does: registers or finds the person, then opens the encounter, or offers and queues.

        Returns the encounter when the person is now being served.

        :raises WrongIdNumber: the reader gave a number that cannot be one
        """
        patient = (await self._people.from_card(card, by)).patient
        served = self.current()
        if served is not None and served.patient.patient == patient:
            return served
        visit = self._visits.current()
        if visit is not None and served is None:
            return await self.open(patient, by)
        self._offered = patient
        if visit is not None:
            await self.enqueue(patient, by)
        reason = "busy" if visit is not None else "no_visit"
        self._live.send({"type": "card", "state": "offered", "reason": reason, "patient": patient})
        self._tell(served)
        return None

    def announce(self) -> None:
        """Tell the screens who is served and who waits, as after a restart."""
        self._tell(self.current())

    async def settle(self) -> None:
        """Wait until the cards laid down so far are dealt with."""
        await self._turns.settle()

    # how

    def _on_card(self, stamped: Stamped) -> None:
        card = stamped.event
        if not isinstance(card, IdentityCard):
            return
        person = self._staff.signed_in()
        if person is None:
            self._card = (card, stamped.received_mono_s)
            self._live.send({"type": "card", "state": "offered", "reason": "signed_out", "patient": None})
            return
        self._turns.soon(lambda: self.card(card, person.id))

    def _on_sign_in(self, person: Person) -> None:
        waiting, self._card = self._card, None
        if waiting is not None and self._clock.monotonic_s() - waiting[1] <= CARD_WAITS_S:
            self._turns.soon(lambda: self.card(waiting[0], person.id))

    def _refused(self, refusal: XunzhenError) -> None:
        self._live.send({"type": "card", "state": "refused", "code": refusal.code})

    def _closing(self, before: EncounterView | None, by: str) -> list[Draft]:
        if before is None:
            return []
        red = self.unanswered()
        if red:
            raise CriticalOpen("a red value is not dealt with: say what was done about it", readings=tuple(red))
        return [
            Draft(
                "encounter_closed/1",
                {"encounter_id": before.encounter, "opened_at": format_time(before.opened_at)},
                by=by,
                visit=before.visit,
                encounter=before.encounter,
            )
        ]

    def _withdraw_offer(self, patient: str) -> None:
        if self._offered == patient:
            self._offered = None

    def _waiting(self) -> list[tuple[int, str, datetime]]:
        """(number, patient, since) of the open visit's queue."""
        visit = self._visits.current()
        if visit is None:
            return []
        if self._queue is None or self._queue[0] != visit.visit:
            self._queue = (visit.visit, self._read_queue(visit.visit))
        return self._queue[1]

    def _read_queue(self, visit: str) -> list[tuple[int, str, datetime]]:
        rows = self._store.read(
            "SELECT action, what, at FROM access_log WHERE action IN ('queued', 'unqueued') "
            "AND at >= (SELECT opened_at FROM visits WHERE visit = ?) ORDER BY n",
            (visit,),
        )
        waiting: dict[str, tuple[int, str, datetime]] = {}
        number = 0
        for row in rows:
            patient = row["what"]
            if row["action"] == "unqueued":
                waiting.pop(patient, None)
            else:
                number += 1
                waiting.setdefault(patient, (number, patient, parse_time(row["at"])))
        return list(waiting.values())

    def _tell(self, served: EncounterView | None) -> None:
        for listener in self.listeners:
            listener(served)
        offered = self.offered()
        self._live.send(
            {
                "type": "encounter",
                "encounter": plain(served),
                "queue": [{"number": item.number, "patient": item.patient.patient} for item in self.queue()],
                "offered": offered.patient if offered else None,
            }
        )

    def _view(self, row: dict[str, Any]) -> EncounterView:
        return EncounterView(
            encounter=row["encounter"],
            patient=self._people.get(row["patient"]),
            opened_at=parse_time(row["opened_at"]),
            purpose=row["purpose"] or "",
            visit=row["visit"],
        )
