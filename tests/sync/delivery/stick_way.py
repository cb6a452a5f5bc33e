"""The way without a network: a van, a stick, a county."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devices.clock import SimulatedClock
from sync.county.app import County, open_county
from sync.county.settings import CountySettings
from sync.county.stick_import import Imported, StickImport
from sync.delivery.stick_export import Exported, Progress, StickExport
from sync.delivery.stick_receipt import Returned, take_receipts
from sync.formats import stick
from sync.formats.notes import SeedSigner, VerifierKey
from sync.keys.vehicle_key import VehicleKey
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import ORIGIN, recording


class Way:
    """A van, a stick and a county that never see a network."""

    def __init__(self, store: Store, signer: SeedSigner, clock: SimulatedClock, folder: Path) -> None:
        self.store, self.signer, self.clock, self.root = store, signer, clock, folder / "stick"
        self.root.mkdir()
        self.recordings = Recordings(folder / "recordings")
        self.county = new_county(folder / "county", "county.qingyu.example", clock)
        self.county.fleet.enrol(ORIGIN, str(signer.verifier_key()), "van-07")

    @property
    def county_key(self) -> VerifierKey:
        return VerifierKey.parse(str(self.county.verifier_key))

    @property
    def folder(self) -> Path:
        return self.root / stick.folder_of(ORIGIN)

    def keep(self, data: bytes, what: str = "ecg") -> str:
        sha256, size = self.recordings.store(data, "application/octet-stream")
        self.store.commit_now(recording(sha256, size, what))
        return sha256

    def export(self, tell: Callable[[Progress], None] = lambda _: None, whole: bool = False) -> Exported:
        return StickExport(self.store, self.recordings, self.county_key, tell).run(self.root, whole)

    def take(self, county: County | None = None) -> Imported:
        chosen = county or self.county
        (imported,) = StickImport(chosen, VehicleKey.load(chosen.settings.key_file)).run(self.root)
        return imported

    def answer(self) -> Returned:
        return take_receipts(self.root, self.store, self.county_key, self.clock)

    def stored(self) -> list[bytes]:
        return [body for _, body in self.county.mirror.bodies(ORIGIN, 0, 10**6)]


def new_county(folder: Path, origin: str, clock: SimulatedClock) -> County:
    return open_county(CountySettings(name="青峪县", data=folder, origin=origin), clock)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
