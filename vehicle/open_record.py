"""What is on the disk of a vehicle, opened: key, journal and recordings (one process at a time); its villages."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devices.clock import Clock
from sync.data_folder import usable_folder
from sync.keys.journal_keys import JournalKeys
from sync.keys.sealing import Sealer
from sync.proof.areas import Village, VillagesRefused, read_villages
from sync.record.recordings import Recordings
from sync.record.store import Store
from vehicle.health import VERSIONS
from vehicle.settings import VehicleSettings


@dataclass(frozen=True, slots=True)
class Record:
    """What holds the record of this vehicle."""

    keys: JournalKeys
    sealer: Sealer
    store: Store
    recordings: Recordings


def open_record(settings: VehicleSettings, clock: Clock, random_bytes: Callable[[int], bytes]) -> Record:
    identity, keys = settings.vehicle, usable_folder(settings.data) / "keys"
    key = JournalKeys.load_or_create(keys, identity.origin, random_bytes, identity.protection)
    sealer = Sealer.load_or_create(keys / "field.key", random_bytes)
    store = Store.open(
        settings.data,
        identity.origin,
        key,
        clock,
        random_bytes,
        vehicle=identity.id,
        practice=settings.practice,
        software=f"xunzhen {VERSIONS['xunzhen']}",
    )
    try:
        key.resume(store)
    except BaseException:
        store.close()
        raise
    return Record(key, sealer, store, Recordings(settings.data / "recordings"))


def known_villages(path: Path) -> tuple[tuple[Village, ...], str | None]:
    """The villages, and the code of the fault when there are none: people are served all the same."""
    try:
        return read_villages(json.loads(path.read_text(encoding="utf-8"))), None
    except (OSError, ValueError) as fault:
        logging.getLogger(__name__).warning("%s: %s", path, fault)
        return (), "no_villages"
    except VillagesRefused as refusal:
        logging.getLogger(__name__).warning("%s: %s", path, refusal)
        return (), refusal.code
