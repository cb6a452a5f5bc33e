"""The county server as one ASGI application: ``create_county`` puts the parts together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from fastapi import FastAPI

from devices.clock import Clock, SystemClock
from sync.county.acceptance_pages import router as acceptance_router
from sync.county.accounts import Accounts
from sync.county.audit import Audit
from sync.county.blobs import Blobs, BlobStore, FolderStore
from sync.county.database import Database
from sync.county.enrolment import AskingRate, Enrolments
from sync.county.evidence_pages import router as evidence_router
from sync.county.fleet import Fleet
from sync.county.fleet_pages import router as fleet_router
from sync.county.follow_up_pages import router as follow_up_router
from sync.county.intake import router as intake_router
from sync.county.interpretation import Interpreter
from sync.county.key_routes import router as key_router
from sync.county.link_pages import router as link_router
from sync.county.link_probe import LinkProbes
from sync.county.link_probe import router as link_probe_router
from sync.county.migrations import prepare
from sync.county.mirror import Mirror
from sync.county.missing_recordings import router as missing_recordings_router
from sync.county.month_table import MonthTables
from sync.county.old_registry import carry_over
from sync.county.pages import router as page_router
from sync.county.person_exports import router as person_export_router
from sync.county.programme_pages import router as list_router
from sync.county.referral_pages import router as referral_router
from sync.county.refusals import answer_refusals
from sync.county.registry import Registry
from sync.county.registry_pages import router as registry_router
from sync.county.retention import CountyRetention
from sync.county.review_pages import router as review_router
from sync.county.schema import metadata
from sync.county.screening_pages import router as screening_router
from sync.county.screening_rules import ScreeningRules
from sync.county.sealing import Sealing
from sync.county.settings import CountySettings
from sync.county.slip_pages import router as slip_router
from sync.county.sm2 import Sm2Key, Sm2Signer
from sync.county.vehicle_requests import MOST_BODY_BYTES, identify
from sync.county.village_contacts import VillageContacts
from sync.county.village_uploads import VillageUploads
from sync.county.visits import Visits
from sync.county.warning_pages import router as warning_router
from sync.county.witnessing import Witnessing
from sync.county.work_pages import router as work_router
from sync.data_folder import usable_folder
from sync.formats.notes import ED25519_COSIGNATURE, VerifierKey
from sync.keys.key_roles import refuse_shared_keys
from sync.keys.vehicle_key import VehicleKey
from sync.proof.registry_entries import registry_origin
from sync.record.secret_file import create_secret, read_secret
from sync.service import notify
from sync.settings_file import SettingsRefused
from sync.web.access import guarded_app
from sync.web.body_limits import MOST_BYTES
from sync.web.pages import Pages
from sync.witness.client import WitnessClient

HERE = Path(__file__).parent
_LARGE = ("/log/", "/recordings", "/link-probe/", "/county/registry/preview")
"""Where vehicles send, and lists of villages with their outlines."""
_GO_ON_WAITING = "EXTEND_TIMEOUT_USEC=60000000"
"""sd_notify(3): after an upgrade all entries may have to be read again before we are ready."""


@dataclass(frozen=True)
class County:
    """Everything the county's routes work with. ``verifier_key``: under which its receipts verify."""

    settings: CountySettings
    clock: Clock
    database: Database
    accounts: Accounts
    fleet: Fleet
    enrolments: Enrolments
    asking_rate: AskingRate
    registry: Registry
    screening_rules: ScreeningRules
    witnessing: Witnessing
    uploads: VillageUploads
    contacts: VillageContacts
    mirror: Mirror
    blobs: Blobs
    interpreter: Interpreter
    visits: Visits
    coverage: MonthTables
    sealing: Sealing
    retention: CountyRetention
    audit: Audit
    pages: Pages
    link_probes: LinkProbes
    verifier_key: VerifierKey
    sm2_key: Sm2Key | None = None

    async def work_in_background(self) -> None:
        """What nobody waits for, for ever; in each of the county's processes."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self.witnessing.run())
            work.create_task(self.sealing.run())
            work.create_task(self.interpreter.run())
            work.create_task(self.link_probes.run())

    def close(self) -> None:
        self.database.close()


def open_county(
    settings: CountySettings,
    clock: Clock | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
    hasher: PasswordHasher | None = None,
) -> County:
    """The county without its routes: for the command line and for tests. Makes folder, tables and keys when missing."""
    clock = clock or SystemClock()
    usable_folder(settings.data)
    database = Database(settings.database_url, metadata, prepare)
    cosigner = VehicleKey.load_or_create(settings.key_file, settings.origin, random_bytes, ED25519_COSIGNATURE)
    registry_key = VehicleKey.load_or_create(settings.registry_key_file, registry_origin(settings.origin), random_bytes)
    roles = [("the county", cosigner.verifier_key()), ("its registry", registry_key.verifier_key())]
    if settings.witness is not None:
        roles.append(("the province's witness", settings.witness.verifier_key))
    refuse_shared_keys(roles)
    sm2 = Sm2Signer(settings.origin, settings.sm2.key_file) if settings.sm2 is not None else None
    mirror = Mirror(database, cosigner, clock, sm2.lines if sm2 is not None else lambda text: ())
    registry = Registry(database, mirror, registry_key, clock)
    carry_over(database, registry)
    fleet = Fleet(database, registry, clock, lambda: roles)
    fleet.carry_over()
    visits = Visits(database, registry, clock)
    coverage = MonthTables(database, registry, fleet, visits, clock)
    blobs = Blobs(_blob_store(settings), database, clock, settings.largest_recording_bytes)
    interpreter = Interpreter(database, mirror, clock, visits.work_out)
    return County(
        settings=settings,
        clock=clock,
        database=database,
        accounts=Accounts(database, clock, random_bytes, hasher),
        fleet=fleet,
        enrolments=Enrolments(database, fleet, clock),
        asking_rate=AskingRate(clock),
        registry=registry,
        screening_rules=ScreeningRules(registry, mirror, database, settings.origin),
        witnessing=Witnessing(database, mirror, registry, _witness(settings), clock),
        uploads=VillageUploads(database, clock),
        contacts=VillageContacts(database, clock),
        mirror=mirror,
        blobs=blobs,
        interpreter=interpreter,
        visits=visits,
        coverage=coverage,
        sealing=Sealing(database, registry, coverage, clock),
        retention=CountyRetention(database, interpreter, blobs, clock),
        audit=Audit(database, clock),
        pages=Pages(HERE / "templates", settings.language),
        link_probes=LinkProbes(
            clock,
            lambda: _session_secret(settings.secret_file, random_bytes).encode(),
            settings.probe_host,
            settings.probe_port,
        ),
        verifier_key=cosigner.verifier_key(),
        sm2_key=sm2.key if sm2 is not None else None,
    )


def create_county(
    settings: CountySettings,
    clock: Clock | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
    hasher: PasswordHasher | None = None,
) -> FastAPI:
    """The application; ``app.state.county`` is its ``County``. What was stored and not yet read is read first."""
    county = open_county(settings, clock, random_bytes, hasher)
    county.interpreter.catch_up_all(lambda: notify(_GO_ON_WAITING))
    secret = _session_secret(settings.secret_file, random_bytes)
    app = guarded_app(f"巡诊 {settings.name}", identify, secret, settings.secure_cookies, _most_bytes)
    app.state.county = county
    app.include_router(missing_recordings_router)
    app.include_router(intake_router)
    app.include_router(key_router)
    app.include_router(link_probe_router)
    app.include_router(page_router)
    app.include_router(evidence_router)
    app.include_router(fleet_router)
    app.include_router(link_router)
    app.include_router(follow_up_router)
    app.include_router(list_router)
    app.include_router(registry_router)
    app.include_router(referral_router)
    app.include_router(slip_router)
    app.include_router(review_router)
    app.include_router(screening_router)
    app.include_router(person_export_router)
    app.include_router(warning_router)
    app.include_router(acceptance_router)
    app.include_router(work_router)
    county.pages.mount(app, HERE / "static")
    answer_refusals(app)
    return app


def _most_bytes(path: str) -> int:
    return MOST_BODY_BYTES if path.startswith(_LARGE) else MOST_BYTES


def _blob_store(settings: CountySettings) -> BlobStore:
    """:raises SettingsRefused: the address is not understood, or the extra "s3" is not installed"""
    folder = settings.recordings_folder
    if folder is not None:
        return FolderStore(folder)
    try:
        from sync.county.object_store import ObjectStore
    except ModuleNotFoundError as fault:
        raise SettingsRefused(f'{fault.name} is missing: install xunzhen with the extra "s3"') from None
    return ObjectStore(settings.recordings)


def _witness(settings: CountySettings) -> WitnessClient | None:
    address = settings.witness
    return WitnessClient(address.url, address.verifier_key) if address is not None else None


def _session_secret(path: Path, random_bytes: Callable[[int], bytes]) -> str:
    if not path.exists():
        create_secret(path, random_bytes(32).hex() + "\n")
    return read_secret(path)
