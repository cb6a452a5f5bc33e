"""An ECG file on its way from a stick to a person, and on to the county."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from touch_bench import CARD, PIN, VILLAGE_CODE, Bench, serve, settings_in

from devices.clock import SimulatedClock
from devices.ecg_files.document import EcgFileDamaged, EcgFileUnsupported, PersonSaid
from devices.readings import Stamped, StoredEcg
from devices.session import DeviceSettings
from devices.simulators.creative_pc80b import stored_file
from devices.wire import unpack_samples
from sync.county.app import County, create_county
from sync.county.schema import projected
from sync.county.settings import CountySettings as CountyServerSettings
from sync.formats import ecg_file
from sync.record.database import DiskFull
from tests.devices.ecg_file_writers import Scp, ascii_tag, contec, heartbeats
from vehicle.assembly import assemble
from vehicle.clinic.people import PatientForm, PatientView
from vehicle.clinic.said_person import compared
from vehicle.ecg_import import EcgFileGone, EcgImport, EcgImportedAlready, EcgPersonChanged, EcgTaken
from vehicle.mounts import Stick, find_sticks
from vehicle.settings import CountySettings
from vehicle.touchscreen.app import create_touchscreen

BEATS = heartbeats(10.0, 800.0)
OTHERS = contec(BEATS, b"Li Ming", sex=1, age=40)
NAMELESS = contec(BEATS[:4000])
TODAY = date(2026, 3, 2)
PC80B = DeviceSettings(name="ecg-7", driver="creative_pc80b", link="serial", port="/dev/xunzhen/ecg")


def stick_of(folder: Path) -> Stick:
    folder.mkdir(parents=True, exist_ok=True)
    return Stick(folder, "/dev/sdb1", 1, 2, True)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return stick_of(tmp_path / "media" / "KINGSTON").path


@pytest.fixture
async def bench(tmp_path: Path, clock: SimulatedClock, stick: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, clock)
    vehicle = made.vehicle
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sdb1 {stick} vfat rw 0 0\n")
    vehicle.sticks.found = lambda: find_sticks((tmp_path / "media",), table)  # type: ignore[method-assign]
    yield made
    await vehicle.stop()


def ecgs(bench: Bench) -> EcgImport:
    return bench.vehicle.ecg_import


def row_of(bench: Bench, sha256: str) -> dict[str, Any]:
    (row,) = bench.vehicle.store.read("SELECT * FROM recordings WHERE sha256 = ?", (sha256,))
    return dict(row)


async def kept(bench: Bench, path: Path, known: PatientView | None) -> str:
    looked = ecgs(bench).look(str(path))
    return await ecgs(bench).store(str(path), looked.file_sha256, known, "zhou.min")


async def test_a_file_becomes_the_recording_that_the_live_recorder_would_have_made(bench: Bench, stick: Path) -> None:
    patient = await serve(bench)
    (stick / "0000007.ECG").write_bytes(contec(BEATS))
    sha256 = await kept(bench, stick / "0000007.ECG", patient)
    header, counts = ecg_file.read(bench.vehicle.recordings.read(sha256))
    assert (header.channels[:2], header.sample_rate_hz, header.resolution_uv) == (("I", "II"), 800.0, 5.0)
    assert np.array_equal(counts, BEATS)
    row = row_of(bench, sha256)
    assert (row["what"], row["patient"], row["device"]) == ("ecg", patient.patient, "Contec ECG90A")
    visit = bench.vehicle.visits.current()
    assert visit is not None
    assert (row["duration_ms"], row["visit"]) == (10_000, visit.visit)
    imported = json.loads(row["facts_json"])["imported"]
    assert imported["file_name"] == "0000007.ECG"
    assert imported["device_said_at"] == "2026-11-20T08:30:00"
    assert len(imported["file_sha256"]) == 64
    assert [view.sha256 for view in bench.vehicle.ecg.recordings_of(patient.patient)] == [sha256]


async def test_what_file_and_person_differ_in_is_noted_and_the_file_kept_all_the_same(
    bench: Bench, stick: Path
) -> None:
    patient = await serve(bench)
    (stick / "a.ECG").write_bytes(OTHERS)
    sha256 = await kept(bench, stick / "a.ECG", patient)
    assert json.loads(row_of(bench, sha256)["facts_json"])["imported"]["differs"] == ["name", "sex", "age"]


async def test_an_ecg_of_nobody_waits_until_it_is_assigned(bench: Bench, stick: Path) -> None:
    (stick / "a.ECG").write_bytes(NAMELESS)
    sha256 = await kept(bench, stick / "a.ECG", None)
    (held,) = ecgs(bench).held()
    assert (held.sha256, held.name, held.duration_ms) == (sha256, "a.ECG", 5000)
    assert row_of(bench, sha256)["encounter"] is None
    patient = await serve(bench)
    await ecgs(bench).assign(sha256, patient.patient, "zhou.min")
    assert ecgs(bench).held() == []
    row = row_of(bench, sha256)
    encounter = bench.vehicle.encounters.current()
    assert encounter is not None
    assert (row["patient"], row["encounter"]) == (patient.patient, encounter.encounter)
    assert [view.sha256 for view in bench.vehicle.ecg.recordings_of(patient.patient)] == [sha256]
    with pytest.raises(EcgTaken):
        await ecgs(bench).assign(sha256, patient.patient, "zhou.min")


async def test_the_same_ecg_is_kept_once_whatever_the_file_is_called(bench: Bench, stick: Path) -> None:
    patient = await serve(bench)
    for name in ("a.ECG", "b.ecg"):
        (stick / name).write_bytes(NAMELESS)
    first = await kept(bench, stick / "a.ECG", patient)
    with pytest.raises(EcgImportedAlready) as known:
        await kept(bench, stick / "b.ecg", None)
    assert known.value.facts["sha256"] == first
    assert row_of(bench, first)["patient"] == patient.patient


async def test_two_taps_are_one_recording(bench: Bench, stick: Path) -> None:
    patient = await serve(bench)
    (stick / "a.ECG").write_bytes(NAMELESS)
    ended = await asyncio.gather(*(kept(bench, stick / "a.ECG", patient) for _ in range(2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["EcgImportedAlready", "str"]


async def test_nothing_is_kept_when_the_person_or_the_file_has_changed(bench: Bench, stick: Path) -> None:
    first = await serve(bench)
    path = stick / "a.ECG"
    path.write_bytes(NAMELESS)
    looked = ecgs(bench).look(str(path))
    await bench.vehicle.encounters.close("zhou.min")
    await serve(bench, PatientForm("王大山", "male", date(1950, 1, 1)))
    with pytest.raises(EcgPersonChanged):
        await ecgs(bench).store(str(path), looked.file_sha256, first, "zhou.min")
    path.write_bytes(OTHERS)
    with pytest.raises(EcgFileGone):
        await ecgs(bench).store(str(path), looked.file_sha256, None, "zhou.min")
    path.write_bytes(NAMELESS[:-3])
    with pytest.raises(EcgFileDamaged):
        await kept(bench, path, None)
    assert bench.vehicle.store.read("SELECT * FROM recordings") == []


async def test_only_files_on_a_stick_are_read(bench: Bench, stick: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.ECG").write_bytes(NAMELESS)
    (stick / "link.ECG").symlink_to(tmp_path / "secret.ECG")
    for path in (tmp_path / "secret.ECG", stick / "link.ECG", stick / ".." / ".." / "secret.ECG", stick / "none.ECG"):
        with pytest.raises(EcgFileGone):
            ecgs(bench).look(str(path))
    with pytest.raises(EcgFileGone):
        ecgs(bench).look(str(stick / "a\0b.ECG"))


async def test_files_are_listed_newest_first_and_not_too_deep(bench: Bench, stick: Path) -> None:
    for i, place in enumerate(["old.ECG", "ECG90A/2026/new.scp", "a/b/c/d/e/deep.ECG", ".Trash/x.ECG", "note.txt"]):
        path = stick / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * i)
        os.utime(path, (1000 + i, 1000 + i))
    found = ecgs(bench).files()
    assert [(file.place, file.stick, file.n_bytes) for file in found] == [
        ("ECG90A/2026/new.scp", "KINGSTON", 1),
        ("old.ECG", "KINGSTON", 0),
    ]


# whom the file names


def person(**known: Any) -> PatientView:
    plain: dict[str, Any] = {
        "patient": "p1",
        "name": "杨桂芳",
        "sex": "female",
        "born_on": date(1959, 3, 12),
        "id_last4": "0426",
        "masked_id": "5101**********0426",
    }
    wanted = (field.name for field in dataclasses.fields(PatientView))
    made: dict[str, Any] = {name: (plain | known).get(name) for name in wanted}
    return PatientView(**made)


@pytest.mark.parametrize(
    ("said", "known", "verdict"),
    [
        (PersonSaid(name=" 杨桂 芳"), {}, {"name": True}),
        (PersonSaid(name="yang guifang"), {"name": "Yang Guifang"}, {"name": True}),
        (PersonSaid(name="杨桂"), {}, {"name": False}),
        (PersonSaid(sex="male"), {}, {"sex": False}),
        (PersonSaid(sex="male"), {"sex": "unknown"}, {"sex": None}),
        (PersonSaid(id_number="510199195903120426"), {}, {"id_number": True}),
        (PersonSaid(id_number="999999196002290001"), {}, {"id_number": False}),
        (PersonSaid(id_number="12-678-QW"), {}, {"id_number": None}),
        (PersonSaid(id_number="510199195903120426"), {"id_last4": ""}, {"id_number": None}),
        (PersonSaid(born_on=date(1959, 3, 12)), {}, {"born_on": True}),
        (PersonSaid(born_on=date(1959, 3, 13)), {}, {"born_on": False}),
        (PersonSaid(age_years=66), {}, {"age": True}),
        (PersonSaid(age_years=67), {}, {"age": True}),
        (PersonSaid(age_years=64), {}, {"age": False}),
        (PersonSaid(age_years=64), {"born_on": None}, {"age": None}),
        (PersonSaid(), {}, {}),
    ],
)
def test_claims_beside_the_person_at_hand(said: PersonSaid, known: dict[str, Any], verdict: dict[str, Any]) -> None:
    rows = compared(said, person(**known), date(2026, 3, 1), TODAY)
    assert {row.what: row.same for row in rows} == verdict


def test_claims_without_anybody_at_hand_are_shown_and_not_judged() -> None:
    rows = compared(PersonSaid("李明", "1", "male", date(1980, 1, 1), 46), None, None, TODAY)
    assert [(row.what, row.known, row.same) for row in rows] == [
        (what, "", None) for what in ("name", "id_number", "sex", "born_on", "age")
    ]


def test_an_age_is_that_of_the_day_of_the_recording() -> None:
    (row,) = compared(PersonSaid(age_years=40), person(born_on=date(1980, 6, 1)), date(2020, 7, 1), TODAY)
    assert (row.known, row.same) == ("40", True)


# on the touchscreen


@asynccontextmanager
async def signed_in(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://van", follow_redirects=True
    ) as client:
        await client.post("/sign-in", data={"person": "zhou.min", "pin": PIN["zhou.min"]})
        yield client


@pytest.fixture
def app(bench: Bench) -> FastAPI:
    return create_touchscreen(bench.vehicle)


async def test_the_pages_show_the_claims_and_say_a_mismatch(app: FastAPI, bench: Bench, stick: Path) -> None:
    (stick / "心电 1.ECG").write_bytes(OTHERS)
    async with signed_in(app) as doctor:
        listed = (await doctor.get("/ecg/import")).text
        assert "心电 1.ECG" in listed
        address = f"/ecg/import/file?path={quote(str(stick / '心电 1.ECG'))}"
        nobody = (await doctor.get(address)).text
        assert "Li Ming" in nobody
        assert 'data-testid="differs"' not in nobody
        assert 'data-testid="keep-for-person"' not in nobody
        patient = await serve(bench)
        page = (await doctor.get(address)).text
        assert 'data-testid="differs"' in page
        assert "仍然是杨桂芳的" in page
        frame = await doctor.get(f"/ecg/import/samples?path={quote(str(stick / '心电 1.ECG'))}")
        assert np.array_equal(unpack_samples(frame.content)[1].counts, BEATS)
        asked = {
            "path": str(stick / "心电 1.ECG"),
            "file_sha256": ecgs(bench).look(str(stick / "心电 1.ECG")).file_sha256,
        }
        shown = await doctor.post("/ecg/import/file", data=asked | {"patient": patient.patient})
        assert str(shown.url).startswith("http://van/ecg/recordings/")
        assert "11-20 08:30" in shown.text
        assert 'data-testid="imported"' in shown.text
        again = await doctor.post("/ecg/import/file", data=asked)
        assert str(again.url) == str(shown.url)
        assert "已经导入过" in again.text


async def test_a_bad_file_is_said_on_the_list(app: FastAPI, stick: Path) -> None:
    (stick / "bad.ECG").write_bytes(NAMELESS[:-3])
    (stick / "no.scp").write_bytes(b"nothing")
    (stick / "special.scp").write_bytes(Scp(BEATS[:500], bimodal=1).record())
    async with signed_in(app) as doctor:
        for name, title in (("bad.ECG", "已损坏"), ("no.scp", "不是能识别"), ("special.scp", "读不了")):
            answer = await doctor.get(f"/ecg/import/file?path={quote(str(stick / name))}")
            assert str(answer.url) == "http://van/ecg/import"
            assert title in answer.text
        missing = await doctor.get(f"/ecg/import/samples?path={quote(str(stick / 'none.ECG'))}")
        assert missing.status_code == 404


async def test_nothing_of_the_person_in_the_file_reaches_a_log(
    app: FastAPI, bench: Bench, stick: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (stick / "a.ECG").write_bytes(OTHERS)
    with caplog.at_level("DEBUG"):
        await kept(bench, stick / "a.ECG", None)
    assert "Li Ming" not in caplog.text
    assert "ecg_imported" in caplog.text


# at the county


async def test_an_import_reaches_the_county_with_its_person(tmp_path: Path, clock: SimulatedClock) -> None:
    county_app = create_county(
        CountyServerSettings(name="青峪县", data=tmp_path / "county", origin="county.qingxi.example"), clock
    )
    server: County = county_app.state.county
    settings = settings_in(tmp_path).model_copy(
        update={"county": CountySettings(url="http://county.test", key=str(server.verifier_key))}
    )
    vehicle = assemble(settings, clock, sessions=False, transport=httpx.ASGITransport(county_app))
    server.fleet.enrol(settings.vehicle.origin, str(vehicle.key.verifier_key()), "van-07", "川A·演07")
    stick = stick_of(tmp_path / "media" / "KINGSTON")
    vehicle.sticks.found = lambda: [stick]  # type: ignore[method-assign]
    try:
        path = stick.path / "a.scp"
        path.write_bytes(Scp(BEATS, packed=True, differences=2, tags=[ascii_tag(0, "Li")]).record())
        looked = vehicle.ecg_import.look(str(path))
        sha256 = await vehicle.ecg_import.store(str(path), looked.file_sha256, None, "zhou.min")
        await vehicle.visits.start(VILLAGE_CODE, ["zhou.min"], "zhou.min")
        patient = await vehicle.people.register(PatientForm(CARD.name, "female", CARD.born_on), "zhou.min")
        await vehicle.encounters.open(patient.patient, by="zhou.min")
        await vehicle.ecg_import.assign(sha256, patient.patient, "zhou.min")
        assert (await vehicle.uploader.deliver_now()).complete
        kept_there = projected["recordings"].c
        columns = kept_there.sha256, kept_there.what, kept_there.patient, kept_there.device
        (row,) = server.database.rows(select(*columns))
        assert tuple(row.values()) == (sha256, "ecg", patient.patient, "scp-ecg")
        assert b"".join(server.blobs.read(sha256)) == vehicle.recordings.read(sha256)
    finally:
        await vehicle.stop()
        server.close()


async def test_a_wfdb_record_is_its_header_and_the_signals_beside_it(bench: Bench, stick: Path, tmp_path: Path) -> None:
    header, signals = stick / "A1.hea", stick / "A1.dat"
    header.write_bytes(b"A1 1 500 1000\nA1.dat 16 1000/mV 16 0 0 0 0 II\n")
    signals.write_bytes(np.arange(1000, dtype="<i2").tobytes())
    ecgs = bench.vehicle.ecg_import
    looked = ecgs.look(str(header))
    assert (looked.document.format, looked.document.samples.channels) == ("wfdb", ("II",))
    assert [found.place for found in ecgs.files()] == ["A1.hea"]
    signals.write_bytes(np.arange(1, 1001, dtype="<i2").tobytes())
    with pytest.raises(EcgFileGone, match="not the file"):
        await ecgs.store(str(header), looked.file_sha256, None, "zhou.min")
    again = ecgs.look(str(header))
    assert await ecgs.store(str(header), again.file_sha256, None, "zhou.min")
    outside = tmp_path / "secret.dat"
    outside.write_bytes(signals.read_bytes())
    signals.unlink()
    signals.symlink_to(outside)
    with pytest.raises(EcgFileUnsupported, match="not beside"):
        ecgs.look(str(header))


async def test_an_ecg_out_of_a_devices_memory_waits_once_for_its_person(bench: Bench, clock: SimulatedClock) -> None:
    vehicle = bench.vehicle
    counts = np.round(np.sin(np.arange(4500) / 20) * 400).astype(np.int16)
    file = stored_file(counts, datetime(2026, 2, 27, 8, 30, 5))  # noqa: DTZ001  as its display shows it

    def sent(content: bytes) -> None:
        event = StoredEcg(content)
        vehicle.feed.publish(Stamped("ecg-7", "creative_pc80b", clock.now(), clock.monotonic_s(), event))

    unreadable = {"ecg_file_damaged": file[:3000], "ecg_file_unknown": b"no ECG at all"}
    for content in (file, file, *unreadable.values()):
        sent(content)
    await vehicle.commits.settle()
    for content in (file, *unreadable.values()):
        sent(content)
    await vehicle.commits.settle()
    unread = vehicle.ecg_import.unread()
    assert {one.refused: vehicle.recordings.read(one.sha256) for one in unread} == unreadable, "the device may forget"
    assert [one.device for one in unread] == ["ecg-7", "ecg-7"]
    (held,) = vehicle.ecg_import.held()
    assert (held.device, held.device_said_at, held.duration_ms) == ("ecg-7", "2026-02-27T08:30:05", 30000)
    _, stored = ecg_file.read(vehicle.recordings.read(held.sha256))
    assert (stored[:, 0] == counts).all()


async def test_a_device_keeps_its_ecg_while_the_disk_takes_none(bench: Bench, clock: SimulatedClock) -> None:
    """The PC-80B deletes what is acknowledged; the next time it is sent it is kept all the same."""
    vehicle, full = bench.vehicle, DiskFull("no room")
    session = vehicle._open_session(PC80B)
    assert session is not None
    assert session._stored is not None
    stored, store = session._stored, vehicle.recordings.store
    event = StoredEcg(stored_file(np.arange(4500, dtype=np.int16) % 300, datetime(2026, 2, 27, 8, 30, 5)))  # noqa: DTZ001

    def refuse(data: bytes, media_type: str) -> tuple[str, int]:
        raise full

    vehicle.recordings.store = refuse  # type: ignore[method-assign]
    vehicle.feed.publish(Stamped("ecg-7", "creative_pc80b", clock.now(), clock.monotonic_s(), event))
    assert not await stored()
    vehicle.recordings.store = store  # type: ignore[method-assign]
    vehicle.feed.publish(Stamped("ecg-7", "creative_pc80b", clock.now(), clock.monotonic_s(), event))
    assert await stored()
    (held,) = vehicle.ecg_import.held()
    assert held.device == "ecg-7"
