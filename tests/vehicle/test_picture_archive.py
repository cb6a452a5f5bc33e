"""From a freeze in the van to a hospital's archive: settings, journal, DICOM, a real Orthanc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from devices.clock import SystemClock
from sync.web.catalog import texts
from telemedicine.ultrasound.machine import MachineSettings
from telemedicine.ultrasound.stills import as_png
from tests.sync.interop.orthanc import CALLED, CALLING, free_port, installed, orthanc
from tests.telemedicine.ultrasound_source import fan
from tests.vehicle.touch_bench import CARD, Bench, settings_in
from vehicle.captures import STILL
from vehicle.settings import VehicleSettings
from vehicle.touchscreen.archive_words import archive_words
from vehicle.ultrasound import CaptureFacts

MACHINE = MachineSettings(
    name="ultrasound-1", model="DC-30", serial="U7-0042", source_size=(320, 240), mm_per_pixel=0.2
)


def settings(folder: Path, **archive: Any) -> VehicleSettings:
    told = settings_in(folder).model_dump(mode="json")
    said = {"host": "127.0.0.1", "called_ae_title": CALLED, "calling_ae_title": CALLING, **archive}
    return VehicleSettings.model_validate({**told, "picture_archive": said})


async def freeze(bench: Bench, number: int) -> str:
    vehicle = bench.vehicle
    name = await vehicle.ultrasound.begin(CaptureFacts(STILL, (320, 240), 320, 240, 10, by="zhou.min"))
    await vehicle.captures.append(name, 0, as_png(fan(number)))
    return (await vehicle.captures.finish(name, 0)).sha256


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        ({"called_ae_title": "A_TITLE_THAT_IS_TOO_LONG"}, "called_ae_title"),
        ({"calling_ae_title": "VAN\\07"}, "calling_ae_title"),
        ({"clips": "avi"}, "jpeg"),
        ({"port": 0}, "port"),
        ({"ae_title": "X"}, "ae_title"),
    ],
)
def test_settings_of_an_archive_that_cannot_be_meant_are_refused(
    tmp_path: Path, archive: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(tmp_path, **archive)


@pytest.mark.skipif(not installed(), reason="skipped: no Orthanc (Debian package orthanc)")
async def test_a_still_of_the_van_reaches_the_hospital_when_it_answers_and_the_page_says_how_far_it_is(
    tmp_path: Path,
) -> None:
    port = free_port()
    bench = Bench(tmp_path, SystemClock(), settings=settings(tmp_path, port=port))
    vehicle, t = bench.vehicle, texts("zh")
    queue = vehicle.picture_archive
    assert queue is not None
    await vehicle.ultrasound.told(MACHINE)
    await vehicle.visits.start("510199201201", ["zhou.min"], "zhou.min")
    nobody = await freeze(bench, 1)
    patient = await vehicle.people.from_card(CARD, "zhou.min")
    await vehicle.encounters.open(patient.patient, "zhou.min")
    sha256 = await freeze(bench, 2)

    def word(of: str) -> tuple[str, str]:
        image = vehicle.ultrasound.image(of)
        return archive_words(vehicle, of, image.encounter is not None, t)

    assert word(nobody)[0] == "nobody"
    assert word(sha256) == ("waiting", "等待发送")
    await queue.attempt()
    assert word(sha256) == ("unreachable", "连不上医院影像库，会自动再试")
    with orthanc(tmp_path / "orthanc", DicomPort=port) as hospital:
        assert await queue.attempt() == 0.0
        assert word(sha256) == ("stored", "医院已收到")
        assert await queue.attempt() > 0
        tags = [hospital.get(f"/instances/{name}/simplified-tags") for name in hospital.instances()]
    assert [one["PatientName"] for one in tags] == ["Y^GF=杨^桂芳"]
    assert (tags[0]["PatientBirthDate"], tags[0]["PerformingPhysicianName"]) == ("19590312", "=周^敏")
    assert (tags[0]["InstitutionName"], tags[0]["StationName"]) == ("青峪县", "川A·演07")
    assert tags[0]["SequenceOfUltrasoundRegions"][0]["PhysicalDeltaY"] == "0.02"
    await vehicle.stop()
