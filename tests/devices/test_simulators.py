"""The simulators: WFDB records read as their headers promise, GNSS tracks in real time, the control socket."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices import catalog
from devices.clock import SimulatedClock, SystemClock
from devices.drivers import nmea_gnss
from devices.links.tcp_listener import TcpListenerLink
from devices.readings import LaboratoryResult, Position, Samples, Stamped
from devices.session import DeviceSession, DeviceSettings, open_sessions
from devices.simulators.bench import Bench
from devices.simulators.contec_8000g import ContecEcgTwin
from devices.simulators.contec_cms50 import pulse_wave
from devices.simulators.ecg_source import LEADS, SAMPLE_RATE_HZ, RecordedEcg, SynthesisedEcg, ecg_source
from devices.simulators.gnss import GnssTwin, TrackRefused, read_track
from devices.simulators.sam_card import Card
from devices.simulators.wfdb_record import RecordRefused, read_record

SHARED = Path(__file__).parents[2].parent / "shared"
ECG = SHARED / "data" / "ecg"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="skipped: no ../shared")
LIMIT_S = 20.0


def records(folder: str, limit: int) -> list[Path]:
    return sorted((ECG / folder).glob("*.hea"))[:limit] if SHARED.is_dir() else []


# WFDB

HEADERS = [*records("samples12/cinc2021", 12), *records("mitdb", 4), *records("formats", 2), *records("nstdb", 6)]


@needs_shared
@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.stem)
def test_a_record_reads_as_its_header_promises(header: Path) -> None:
    """First value and checksum of each signal stand in the header (header(5)): both must come out of ours."""
    record = read_record(header)
    lines = [line for line in header.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
    for column, line in enumerate(lines[1 : 1 + len(record.names)]):
        _, _, gain, _, zero, first, checksum, *_ = line.split()
        per_mv = float(gain.split("(")[0].split("/")[0]) or 200.0
        baseline = int(gain.split("(")[1].split(")")[0]) if "(" in gain else int(zero)
        counts = np.round(record.signals_uv[:, column] * per_mv / 1000 + baseline)
        assert counts[0] == int(first)
        assert not np.isnan(counts).any()
        assert (int(counts.sum()) - int(checksum)) % 65536 == 0


@needs_shared
def test_a_real_12_lead_record_comes_out_of_the_twin_as_it_is() -> None:
    header = records("samples12/cinc2021", 1)[0]
    record = read_record(header.with_suffix(""))
    assert record.sample_rate_hz == 500.0
    twin = ContecEcgTwin(ecg_source(header.with_suffix("")))
    twin.receive(b"\x90\x00\x90\x05")
    twin.advance(4.0)
    columns = [[name.upper() for name in record.names].index(lead.upper()) for lead in LEADS]
    in_range = np.clip(record.signals_uv[:2000, columns] / 1.25, -4094, 4092)
    assert np.abs(twin.sent(2000) - in_range).max() <= 0.5


def test_other_rates_are_resampled_and_the_record_begins_again(tmp_path: Path) -> None:
    header = "ramp 1 250 100\nramp.dat 16 200(0)/mV 16 0 0 0 0 II\n"
    write_record(tmp_path / "ramp", header, np.arange(100, dtype="<i2"))
    source = RecordedEcg(read_record(tmp_path / "ramp"))
    second_lead = source.next_uv(400)[:, LEADS.index("II")]
    assert second_lead[:4].tolist() == pytest.approx([0.0, 2.5, 5.0, 7.5])
    assert np.array_equal(second_lead[:200], second_lead[200:])


def test_leads_a_record_lacks_have_no_electrode_and_lead_i_follows_from_ii_and_iii(tmp_path: Path) -> None:
    header = "limb 2 500 3\nlimb.dat 16 1000/mV 16 0 0 0 0 II\nlimb.dat 16 1000/mV 16 0 0 0 0 III\n"
    write_record(tmp_path / "limb", header, np.array([[700, 200], [600, 100], [-32768, 5]], "<i2"))
    leads = RecordedEcg(read_record(tmp_path / "limb")).next_uv(3)
    assert leads[:2, LEADS.index("I")].tolist() == [500.0, 500.0]
    assert np.isnan(leads[2, LEADS.index("I")])
    assert np.isnan(leads[:, LEADS.index("V1")]).all()


def write_record(path: Path, header: str, counts: Any) -> None:
    path.with_suffix(".hea").write_text(header, encoding="utf-8")
    path.with_suffix(".dat").write_bytes(counts.tobytes())


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("", "empty"),
        ("r x y\n", "first line"),
        ("r/3 2 500\nr1 100\nr2 100\n", "segments"),
        ("r 2 500 10\nr.dat 16 200 16 0 0 0 0 I\n", "described"),
        ("r 1 500 10\nr.dat 310 200 16 0 0 0 0 I\n", "format 310"),
        ("r 1 500 10\nr.dat 16x4 200 16 0 0 0 0 I\n", "per frame"),
        ("r 1 500 10\nr.dat 16 200/mmHg 16 0 0 0 0 ABP\n", "voltage"),
        ("r 1 500 10\nmissing.dat 16 200 16 0 0 0 0 I\n", "missing.dat"),
        ("r 1 500 10\nr.dat 16 200 16 0 0 0 0 EEG\n", "leads"),
        ("r 1 500 10\nr.dat what 200 16 0 0 0 0 I\n", "not understood"),
    ],
)
def test_a_record_that_cannot_be_read_says_why(tmp_path: Path, header: str, says: str) -> None:
    write_record(tmp_path / "r", header, np.zeros(10, "<i2"))
    with pytest.raises(RecordRefused, match=says):
        ecg_source(tmp_path / "r")
    with pytest.raises(RecordRefused, match="nowhere"):
        ecg_source(tmp_path / "nowhere")


def test_another_heart_beats_from_the_next_sample_on_and_a_fibrillating_one_follows_no_rhythm() -> None:
    source = SynthesisedEcg(heart_rate_bpm=60, seed=5)

    def intervals_s() -> np.ndarray:
        lead_ii = source.next_uv(30 * SAMPLE_RATE_HZ)[:, 1]
        peaks = np.flatnonzero((lead_ii[1:-1] > 700) & (lead_ii[1:-1] >= lead_ii[:-2]) & (lead_ii[1:-1] > lead_ii[2:]))
        return np.diff(peaks[np.insert(np.diff(peaks) > SAMPLE_RATE_HZ // 5, 0, True)]) / SAMPLE_RATE_HZ

    calm = intervals_s()
    assert calm.mean() == pytest.approx(1.0, abs=0.05)
    source.become(90, fibrillating=True)
    wild = intervals_s()
    assert wild.mean() == pytest.approx(60 / 90, abs=0.1)
    assert wild.std() / wild.mean() > 3 * calm.std() / calm.mean()


async def test_while_a_record_is_played_finger_and_cuff_show_its_pulse(tmp_path: Path) -> None:
    """One person has one heart: what is asked counts where the ECG is synthesised, and obeys ``heart``."""
    beats = SynthesisedEcg(heart_rate_bpm=54, seed=3).next_uv(30 * SAMPLE_RATE_HZ)
    header = f"slow 1 500 {len(beats)}\nslow.dat 16 1000/mV 16 0 0 0 0 II\n"
    write_record(tmp_path / "slow", header, beats[:, LEADS.index("II")].round().astype("<i2"))
    played = ecg_source(tmp_path / "slow")
    played.next_uv(7 * SAMPLE_RATE_HZ)
    for source, low, high in ((played, 53, 55), (SynthesisedEcg(), 74, 74)):
        meters = Meters()
        gnss = GnssTwin(SystemClock(), 32.4, 106.9)
        bench = Bench(tmp_path, SystemClock(), source, gnss, meters)
        bench.finger(on=True, spo2_percent=96, pulse_bpm=74)
        await bench.blood_pressure(162, 98, 74)
        assert low <= bench.state()["finger"]["pulse_bpm"] <= high
        assert low <= meters.pulse_bpm <= high


class Meters:
    """Keeps what the cuff was given."""

    pulse_bpm = 0

    async def plug(self, device: Any) -> None: ...

    async def unplug(self, device: Any) -> None: ...

    async def glucose(self, glucose_mmol_l: float) -> None: ...

    async def blood_pressure(self, systolic_mmhg: int, diastolic_mmhg: int, pulse_bpm: int) -> None:
        self.pulse_bpm = pulse_bpm


def test_the_synthesised_rhythm_is_an_ecg() -> None:
    source = SynthesisedEcg(heart_rate_bpm=72, seed=2)
    leads = np.concatenate([source.next_uv(n) for n in (1, 999, 14000)])
    second = leads[:, LEADS.index("II")]
    beats = np.flatnonzero((second[1:-1] > 700) & (second[1:-1] >= second[:-2]) & (second[1:-1] > second[2:]))
    intervals_s = np.diff(beats[np.insert(np.diff(beats) > 100, 0, True)]) / 500
    assert 34 <= len(intervals_s) + 1 <= 38
    assert 0.01 < intervals_s.std() < 0.08
    assert np.abs(leads).max() < 3000
    assert not np.allclose(leads[:, 0], leads[:, 2])


# GNSS, oximeter, card


def test_a_standing_receiver_wanders_by_metres() -> None:
    clock = SimulatedClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))
    twin, driver = GnssTwin(clock, -32.36, -106.82), nmea_gnss.Driver()
    driver.open()
    fixes: list[Position] = []
    for _ in range(120):
        events = driver.feed(twin.advance(1.0)).events
        fixes += [event for event in events if isinstance(event, Position)]
        clock.advance(1.0)
    north_m = np.array([(fix.latitude_deg or 0) + 32.36 for fix in fixes]) * 111_320
    assert len(fixes) >= 118
    assert 0.1 < north_m.std() < 5
    assert np.abs(north_m).max() < 12
    assert all(fix.longitude_deg is not None and fix.longitude_deg < 0 for fix in fixes)


def test_a_receiver_says_how_fast_it_goes() -> None:
    twin, driver = GnssTwin(SimulatedClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC)), 32.36, 106.82), nmea_gnss.Driver()
    driver.open()
    twin.speed_m_s = 10.0
    fixes = [event for event in driver.feed(twin.advance(2.0)).events if isinstance(event, Position)]
    assert fixes[0].speed_m_s == pytest.approx(10.0, abs=0.01)


@needs_shared
def test_a_track_is_replayed_in_its_own_time_and_then_stands() -> None:
    track = read_track(SHARED / "data" / "gnss" / "gps-360.log")
    clock = SimulatedClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))
    twin, driver = GnssTwin(clock, 0.0, 0.0, track), nmea_gnss.Driver()
    driver.open()
    fixes: list[Position] = []
    seconds = 0
    while twin.replaying:
        events = driver.feed(twin.advance(1.0)).events
        fixes += [event for event in events if isinstance(event, Position) and event.latitude_deg is not None]
        seconds += 1
    assert abs(seconds - 54) <= 3
    last = fixes[-1]
    assert (twin.latitude_deg, twin.longitude_deg) == pytest.approx((last.latitude_deg, last.longitude_deg), abs=1e-5)
    twin.advance(1.0)
    events = driver.feed(twin.advance(2.0)).events
    standing = [event for event in events if isinstance(event, Position)][-1]
    assert standing.latitude_deg == pytest.approx(last.latitude_deg, abs=1e-4)


def test_a_log_without_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"hello\n$GPGSV,1,1,00*79\n")
    with pytest.raises(TrackRefused, match="time"):
        read_track(tmp_path / "log")
    with pytest.raises(TrackRefused, match="nowhere"):
        read_track(tmp_path / "nowhere")


def test_the_pulse_wave_stays_in_seven_bits() -> None:
    wave = [pulse_wave(phase / 100) for phase in range(100)]
    assert min(wave) >= 0
    assert max(wave) <= 127
    assert max(wave) - min(wave) > 60


def test_an_invented_card_must_add_up() -> None:
    with pytest.raises(ValueError, match="check digit"):
        Card("测试甲", "female", date(1960, 2, 29), "999999196002290002", "一组")
    with pytest.raises(ValueError, match="sex"):
        Card("测试甲", "女", date(1960, 2, 29), "999999196002290001", "一组")
    with pytest.raises(ValueError, match="15 characters"):
        Card("甲" * 16, "female", date(1960, 2, 29), "999999196002290001", "一组").text()


# the process


class Simulators:
    def __init__(self, ports: Path, process: asyncio.subprocess.Process, control: Path) -> None:
        self.ports = ports
        self.process = process
        self._control = control

    async def do(self, deed: str, **more: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self._control, limit=8 * 1024 * 1024)
        writer.write(json.dumps({"do": deed, **more}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return answer


@asynccontextmanager
async def simulators(folder: Path, *arguments: str) -> AsyncIterator[Simulators]:
    control = folder / "control.sock"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devices.simulators", "--ports", str(folder / "ports"), "--control", str(control)),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            started = json.loads(await process.stderr.readline())
        assert started["event"] == "service_started", started
        yield Simulators(folder / "ports", process, control)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            rest = await process.stderr.read()
            status = await process.wait()
    assert status == 0, rest.decode()
    assert all(json.loads(line)["event"] for line in rest.splitlines())
    assert not list((folder / "ports").iterdir())
    assert not control.exists()


async def test_the_control_socket_tells_the_very_counts_that_the_bytes_carried(tmp_path: Path) -> None:
    heard: list[Samples] = []
    enough = asyncio.Event()

    def publish(stamped: Any) -> None:
        if isinstance(stamped.event, Samples):
            heard.append(stamped.event)
            if stamped.event.first_index >= 1000:
                enough.set()

    async with simulators(tmp_path) as running:
        settings = DeviceSettings(name="ecg-1", driver="contec_8000g", link="serial", port=str(running.ports / "ecg"))
        (session,) = open_sessions([settings], publish, SystemClock(), hub=None)
        attending = asyncio.create_task(session.run())
        async with asyncio.timeout(LIMIT_S):
            await enough.wait()
        told = await running.do("ecg_sent", last=5000)
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)
    received = np.concatenate([samples.counts for samples in heard])
    sent = np.array(told["counts"])
    assert told["channels"] == list(heard[0].channels)
    assert told["resolution"] == heard[0].resolution
    n = min(len(received), len(sent))
    assert n >= 1000
    assert np.array_equal(received[:n], sent[told["first_index"] :][:n])


async def test_the_analysers_of_the_bench_speak_as_those_of_a_van(tmp_path: Path) -> None:
    """A strip over the pty, a blood count over TCP, through sessions as the van has them."""
    heard: dict[str, LaboratoryResult] = {}
    both = asyncio.Event()
    link = TcpListenerLink("blood-count-1", "127.0.0.1", 0)
    await link.listen()

    def publish(stamped: Stamped) -> None:
        if isinstance(stamped.event, LaboratoryResult):
            heard[stamped.device] = stamped.event
            if len(heard) == 2:
                both.set()

    async with simulators(tmp_path, "--analyser", f"127.0.0.1:{link.bound_port}") as running:
        urine = DeviceSettings(name="urine-1", driver="gmp_urine", link="serial", port=str(running.ports / "urine"))
        (strips,) = open_sessions([urine], publish, SystemClock(), hub=None)
        settings = DeviceSettings(name="blood-count-1", driver="hl7_analyser", link="listen", port="127.0.0.1:9100")
        counts = DeviceSession(settings, catalog.driver("hl7_analyser")(), link, publish, SystemClock())
        attending = [asyncio.create_task(session.run()) for session in (strips, counts)]
        found = [{"code": "HGB", "said": "98", "unit": "g/L", "flags": ["L"], "loinc": "718-7"}]
        assert await running.do("blood_count", specimen="101", found=found) == {"ok": True}
        assert await running.do("urine", number=7, levels={"GLU": 3}) == {"ok": True}
        assert "2047" in (await running.do("urine", number=2048, levels={}))["error"]
        async with asyncio.timeout(LIMIT_S):
            await both.wait()
        for task in attending:
            task.cancel()
        await asyncio.gather(*attending, return_exceptions=True)
    assert (heard["urine-1"].specimen, heard["blood-count-1"].specimen) == ("7", "101")
    assert [(value.key, value.said) for value in heard["blood-count-1"].values] == [("hgb", "98")]
    assert ("u_glucose", "+2") in [(value.key, value.said) for value in heard["urine-1"].values]


async def test_deeds_are_done_or_refused_in_words(tmp_path: Path) -> None:
    async with simulators(tmp_path) as running:
        assert (await running.do("state"))["plugged"]["ecg"]
        assert (await running.do("unplug", device="ecg")) == {"ok": True}
        assert not (running.ports / "ecg").is_symlink()
        assert not (await running.do("state"))["plugged"]["ecg"]
        before = (running.ports / "card").readlink()
        await running.do("unplug", device="card")
        await running.do("plug", device="card")
        assert (running.ports / "card").readlink().parent == before.parent
        card = {"name": "测试甲", "sex": "female", "born_on": "1960-02-29", "address": "一组"}
        assert await running.do("card", id_number="999999196002290001", **card) == {"ok": True}
        assert (await running.do("state"))["card"]
        assert await running.do("card_off") == {"ok": True}
        assert await running.do("finger", on=True, spo2_percent=96, pulse_bpm=74) == {"ok": True}
        assert await running.do("position", latitude_deg=32.4, longitude_deg=106.9) == {"ok": True}
        assert (await running.do("state"))["position"]["latitude_deg"] == 32.4
        assert await running.do("leads", off=["V3"]) == {"ok": True}
        for deed, more, says in (
            ("dance", {}, "plug"),
            ("plug", {"device": "kettle"}, "oximeter"),
            ("finger", {}, "on"),
            ("finger", {"on": True, "spo2_percent": 180}, "spo2_percent"),
            ("leads", {"off": ["V9"]}, "V9"),
            ("position", {"latitude_deg": 200, "longitude_deg": 0}, "range"),
            ("position", {"latitude_deg": 32, "longitude_deg": 106, "speed_km_h": 900}, "speed_km_h"),
            ("card", {**card, "id_number": "999999196002290002"}, "check digit"),
            ("card", {**card, "born_on": "yesterday", "id_number": "999999196002290001"}, "yesterday"),
            ("glucose", {"glucose_mmol_l": 6.1}, "--bluetooth"),
        ):
            assert says in (await running.do(deed, **more))["error"]


async def test_a_record_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devices.simulators", "--ports", str(tmp_path / "ports")),
        *("--control", str(tmp_path / "c.sock"), "--ecg", str(tmp_path / "nothing")),
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    _, told = await process.communicate()
    assert process.returncode == 1
    assert json.loads(told)["code"] == "record_refused"
