"""The clinic of a vehicle, put together: people, measurements, laboratory, screening, consultations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.keys.sealing import Sealer
from vehicle.clinic.background import Backgrounds
from vehicle.clinic.case import CaseNotes
from vehicle.clinic.critical import CriticalValues
from vehicle.clinic.critical_findings import CriticalFindings
from vehicle.clinic.emergency.checklists import shipped_checklists
from vehicle.clinic.encounters import Encounters
from vehicle.clinic.follow_ups import FollowUps
from vehicle.clinic.health_profile import HealthProfiles
from vehicle.clinic.households import Households
from vehicle.clinic.laboratory import Laboratory
from vehicle.clinic.measurements import Measurements
from vehicle.clinic.path_runs import PathRuns
from vehicle.clinic.paths import shipped_paths
from vehicle.clinic.people import People
from vehicle.clinic.programmes import Programmes
from vehicle.clinic.prompts import Prompts
from vehicle.clinic.referrals import Referrals
from vehicle.clinic.screening import RuleSet, shipped_rules
from vehicle.clinic.specimens import Specimens
from vehicle.consultation_people import ConsultationPeople
from vehicle.consultations import Consultations
from vehicle.emergency import Emergencies, Place
from vehicle.fhir_export import FhirExport
from vehicle.on_board import InstrumentsOnBoard
from vehicle.patrol.visit_pictures import VisitPictures
from vehicle.printing.form_sheets import FormSheets
from vehicle.printing.paper_queue import PaperQueue
from vehicle.printing.printing import Printing
from vehicle.printing.slip_contents import Letterhead
from vehicle.rule_book import RuleBook
from vehicle.voice.voice import Voice

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle


def assemble_clinic(vehicle: Vehicle, sealer: Sealer) -> None:
    """Give ``vehicle`` its parts of the clinic; those of record, delivery, visits and devices are there already."""
    store, ids, clock, live, settings = vehicle.store, vehicle.ids, vehicle.clock, vehicle.live, vehicle.settings
    vehicle.people = People(store, ids, clock, sealer)
    vehicle.backgrounds = Backgrounds(store, vehicle.people)
    vehicle.households = Households(store, ids, vehicle.people)
    vehicle.encounters = Encounters(store, ids, clock, live, vehicle.people, vehicle.staff, vehicle.visits)
    vehicle.encounters.listen(vehicle.feed)
    paths = shipped_paths()
    vehicle.screening = Prompts(
        store, ids, clock, live, vehicle.people, shipped_rules(), settings.clinic, settings.language, paths
    )
    vehicle.rule_book = RuleBook(store, clock, vehicle.screening, vehicle.county)
    vehicle.paths = PathRuns(store, ids, clock, vehicle.screening, paths)
    vehicle.referrals = Referrals(store, ids, clock, vehicle.screening, vehicle.paths, paths)
    _follow_up(vehicle)
    on_board = InstrumentsOnBoard(vehicle.on_board)
    vehicle.measurements = Measurements(
        store,
        ids,
        clock,
        live,
        vehicle.commits,
        vehicle.encounters,
        vehicle.screening,
        vehicle.visits,
        on_board,
        vehicle.hardware_of,
        lambda device: vehicle.device_book.expired_lot(device, vehicle.today()),
    )
    vehicle.measurements.listen(vehicle.feed)
    vehicle.critical_values = CriticalValues(
        store, clock, vehicle.recordings, vehicle.encounters, vehicle.measurements, live
    )
    vehicle.critical_findings = CriticalFindings(store, ids, clock, live, vehicle.commits, vehicle.encounters)
    vehicle.specimens = Specimens(store, ids, clock, live, vehicle.encounters)
    vehicle.laboratory = Laboratory(
        store, ids, clock, live, vehicle.commits, vehicle.specimens, vehicle.screening, vehicle.visits
    )
    vehicle.laboratory.listen(vehicle.feed)
    vehicle.consultation_people = ConsultationPeople(vehicle.store, vehicle.live)
    vehicle.consultations = Consultations(
        store,
        ids,
        clock,
        live,
        vehicle.recordings,
        vehicle.people,
        vehicle.encounters,
        vehicle.staff,
        CaseNotes(store, vehicle.people, vehicle.screening),
        settings.vehicle.origin,
        settings.language,
    )
    head = Letterhead(
        settings.printer.clinic, settings.vehicle.plate, settings.printer.phone, practice=settings.practice
    )
    vehicle.form_sheets = FormSheets(head, clock)
    notes = CaseNotes(store, vehicle.people, vehicle.screening)
    vehicle.printing = Printing(settings.printer, store, ids, clock, live, notes, head, settings.vehicle.origin)
    vehicle.paper = PaperQueue(settings.paper_printer.address, settings.data / "paper", store, ids, clock, live)
    vehicle.emergencies = Emergencies(
        store,
        ids,
        clock,
        live,
        vehicle.people,
        vehicle.encounters,
        vehicle.consultations,
        lambda: _place(vehicle),
        shipped_checklists(),
        settings.language,
    )
    vehicle.emergencies.listen(vehicle.feed)
    vehicle.voice = Voice(settings.voice)
    vehicle.encounters.listeners.append(vehicle.voice.somebody_else)
    origin, county = settings.vehicle.origin, settings.vehicle.county_name
    vehicle.fhir_export = FhirExport(store, lambda: vehicle.sticks.found(), clock, origin, county)
    vehicle.visit_pictures = VisitPictures(vehicle.recordings, store, clock, vehicle.visits, vehicle.patrol)
    vehicle.visits.before_end = vehicle.encounters.close
    vehicle.visits.closed_listeners.append(lambda visit: _nobody_is_served(vehicle))


def _follow_up(vehicle: Vehicle) -> None:
    """Programmes of the national service and their forms, filled in from what the rules know."""
    clinic, screening = vehicle.settings.clinic, vehicle.screening
    vehicle.programmes = Programmes(vehicle.store, vehicle.clock, vehicle.people, vehicle.visits)

    def in_force() -> tuple[RuleSet, frozenset[str]]:
        switched_on = screening.rules.switched_on(clinic.rules_on, clinic.rules_off)
        return screening.rules, frozenset(rule.id for rule in switched_on)

    vehicle.follow_ups = FollowUps(
        vehicle.store,
        vehicle.ids,
        vehicle.clock,
        vehicle.live,
        vehicle.people,
        vehicle.encounters,
        vehicle.staff,
        vehicle.programmes,
        screening.known.facts,
        in_force,
    )
    vehicle.health_profiles = HealthProfiles(
        vehicle.store,
        vehicle.people,
        vehicle.households,
        vehicle.programmes,
        vehicle.follow_ups,
        screening,
        vehicle.backgrounds,
    )


def _place(vehicle: Vehicle) -> Place:
    """Where the van is: the village of the visit, else the one it stands in, and the last fix."""
    visit, proposed = vehicle.visits.current(), vehicle.visits.proposed()
    name = visit.village_name if visit is not None else proposed.name if proposed is not None else ""
    return Place(name, vehicle.patrol.last_fix)


def _nobody_is_served(vehicle: Vehicle) -> None:
    """A visit that closed by itself took its encounter with it; whoever showed it hears of it."""
    for listener in vehicle.encounters.listeners:
        listener(None)
    vehicle.live.send({"type": "encounter", "encounter": None, "queue": [], "offered": None})
