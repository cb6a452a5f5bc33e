"""Ventricular fibrillation and rapid ventricular tachycardia through the whole ECG chain: what is told, how soon, and
how often falsely, on the development records of ../shared and on the MIT-BIH Malignant Ventricular Ectopy
Database where its folder is given (PhysioNet, vfdb 1.0.0, ODC-BY; not in ../shared).

    python -m benchmarks.bench_ecg_shockable [--vfdb FOLDER] [--every N]

Electrode motion is what record 118e00 of the Noise Stress Test Database has over 118, added to other records. A tremor
is made: a narrow band of noise at 4 to 7 a second that comes and goes, as a hand that trembles.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from benchmarks.train_ecg_af import CINC_HZ, SHARED, cinc2017
from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import ShockableRhythm

DATA = SHARED / "data/ecg"
TRUE, RAPID = frozenset({"VF", "VFIB", "VFL"}), "VT"
UNJUDGED = frozenset({"NOISE", "ASYS"})
"""Nobody can say whether an alarm there is false; asystole is told anyway."""
LEAST_S, AROUND_S, TOLD_WITHIN_S = 10.0, 10.0, 20.0
MOTION_OVER, MOTION_SHARES = ("100", "103", "114", "122", "202", "215"), (0.15, 0.5)
"""Of 118e00's motion (about 2 mV): 0.3 and 1 mV beside QRS of 1 to 2 mV."""
TREMOR_MV, TREMOR_S = (0.1, 0.2), 600
"""Root of the mean square over one lead of QRS of 1 to 2 mV; of each record so many seconds."""
TREMOR_HZ, TREMOR_BAND_HZ, TREMOR_SWELLS_S = (4.0, 7.0), 0.6, 6
Floats = npt.NDArray[np.float64]
Spans = list[tuple[float, float, str]]


@dataclass
class Tally:
    hours: float = 0.0
    alarms: int = 0
    false: list[str] = field(default_factory=list)
    episodes: int = 0
    found: list[float] = field(default_factory=list)
    seconds: float = 0.0
    told: float = 0.0

    def add(self, other: Tally) -> None:
        self.hours += other.hours
        self.alarms += other.alarms
        self.false += other.false
        self.episodes += other.episodes
        self.found += other.found
        self.seconds += other.seconds
        self.told += other.told

    def __str__(self) -> str:
        rate = len(self.false) / self.hours * 24 if self.hours else 0.0
        text = f"{self.hours:6.1f} h without one: {len(self.false)} false, {rate:.1f} a day"
        if self.episodes:
            soon = f", median {np.median(self.found):.0f} s, 90 % in {np.quantile(self.found, 0.9):.0f} s"
            text += f"; {len(self.found)} of {self.episodes} episodes told{soon if self.found else ''}"
            text += f"; {100 * self.told / self.seconds:.0f} % of {self.seconds:.0f} s"
        return text


def alarms_of(mv: Floats, fs_hz: float) -> list[tuple[float, float]]:
    """[when told, when over) in s of one recording, float64[n, leads]."""
    names = ("II", "V1")[: mv.shape[1]] if mv.shape[1] > 1 else ("ECG",)
    chain = EcgChain(names, fs_hz, screen_af=False)
    told = [event for event in chain.push(mv) + chain.flush() if isinstance(event, ShockableRhythm)]
    begun = [event.sample / fs_hz for event in told if not event.ended]
    over = [event.sample / fs_hz for event in told if event.ended]
    return list(zip(begun, [*over, len(mv) / fs_hz], strict=False))


def count(tally: Tally, name: str, mv: Floats, fs_hz: float, spans: Spans) -> None:
    """Alarms against the annotated rhythms; what begins around a true one or where nobody can tell is not false."""
    alarms = alarms_of(mv, fs_hz)
    true = [(begin, end) for begin, end, rhythm in spans if rhythm in TRUE or rhythm == RAPID]
    open_ = true + [(begin, end) for begin, end, rhythm in spans if rhythm in UNJUDGED]
    tally.hours += (len(mv) / fs_hz - sum(end - begin for begin, end in open_)) / 3600
    tally.alarms += len(alarms)
    for at, _ in alarms:
        if not any(begin - AROUND_S <= at <= end + AROUND_S for begin, end in open_):
            tally.false.append(f"{name} {at:.0f}")
    for begin, end in ((b, e) for b, e, rhythm in spans if rhythm in TRUE and e - b >= LEAST_S):
        tally.episodes += 1
        inside = [max(at, begin) - begin for at, over in alarms if at < end and over > begin]
        if inside and min(inside) <= max(TOLD_WITHIN_S, end - begin):
            tally.found.append(min(inside))
        tally.seconds += max(0.0, end - begin - AROUND_S)
        tally.told += sum(max(0.0, min(over, end) - max(at, begin + AROUND_S)) for at, over in alarms)


def rhythms(annotation: Any, fs_hz: float, length: int) -> Spans:
    marks = [(at, aux.strip("\0")[1:]) for at, aux in zip(annotation.sample, annotation.aux_note, strict=True) if aux]
    marks = [(at, rhythm) for at, rhythm in marks if rhythm]
    ends = [at for at, _ in marks[1:]] + [length]
    return [(at / fs_hz, end / fs_hz, rhythm) for (at, rhythm), end in zip(marks, ends, strict=True)]


def wfdb_records(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Floats, float, Spans]]:
    import wfdb  # only where it is measured

    for name in names:
        record = wfdb.rdrecord(str(folder / name))
        spans = rhythms(wfdb.rdann(str(folder / name), "atr"), record.fs, record.sig_len)
        yield name, np.nan_to_num(record.p_signal), record.fs, spans


def motion() -> Floats:
    """float64[n, 2] in mV at 360 Hz."""
    import wfdb

    clean = wfdb.rdrecord(str(DATA / "mitdb/118")).p_signal
    moved = wfdb.rdrecord(str(DATA / "nstdb/118e00")).p_signal
    n = min(len(clean), len(moved))
    return np.asarray(moved[:n] - clean[:n], np.float64)


def tremor(n: int, fs_hz: float, place: float, seed: int) -> Floats:
    """float64[n] of size 1. ``place``: 0 for the slowest, 1 for the fastest."""
    chance = np.random.default_rng(seed)
    hz = TREMOR_HZ[0] + place * (TREMOR_HZ[1] - TREMOR_HZ[0])
    band = (hz - TREMOR_BAND_HZ, hz + TREMOR_BAND_HZ)
    waves = sosfilt(butter(2, band, "band", fs=fs_hz, output="sos"), chance.normal(size=n))
    knots = np.arange(0, n, TREMOR_SWELLS_S * fs_hz)
    swell = np.interp(np.arange(n), knots, chance.uniform(0, 1.6, len(knots)))
    return np.asarray(swell * waves / waves.std(), np.float64)


def trembling(names: list[str], rms_mv: float) -> Tally:
    """The first lead of each record, but that of 207 with its flutter, under a tremor of ``rms_mv``."""
    tally = Tally()
    names = [name for name in names if name != "207"]
    for place, (name, lead, fs_hz, spans) in enumerate(wfdb_records(DATA / "mitdb", names)):
        n = min(len(lead), round(TREMOR_S * fs_hz))
        shaken = lead[:n, :1] + rms_mv * tremor(n, fs_hz, place / len(names), place)[:, None]
        count(tally, name, shaken, fs_hz, [span for span in spans if span[1] <= TREMOR_S])
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vfdb", type=Path, help="the folder of the database")
    parser.add_argument("--every", type=int, default=1, help="only every so many strips of cinc2017")
    said = parser.parse_args()
    names = (DATA / "mitdb/RECORDS").read_text().split()
    if said.vfdb:
        total = Tally()
        for name, mv, fs_hz, spans in wfdb_records(said.vfdb, sorted(path.stem for path in said.vfdb.glob("*.hea"))):
            one = Tally()
            count(one, name, mv, fs_hz, spans)
            total.add(one)
            print(f"  vfdb {name}: {one}", flush=True)
        print(f"vfdb, two leads: {total}")
    for text, leads in (("two leads", slice(0, 2)), ("first lead", slice(0, 1))):
        tally = Tally()
        for name, mv, fs_hz, spans in wfdb_records(DATA / "mitdb", names):
            count(tally, name, mv[:, leads], fs_hz, spans)
        print(f"mitdb, {text}: {tally} {tally.false[:8]}", flush=True)
    noise = motion()
    for share in MOTION_SHARES:
        for text, leads in (("two leads", slice(0, 2)), ("first lead", slice(0, 1))):
            tally = Tally()
            for name, mv, fs_hz, spans in wfdb_records(DATA / "mitdb", MOTION_OVER):
                n = min(len(mv), len(noise))
                count(tally, name, mv[:n, leads] + share * noise[:n, leads], fs_hz, spans)
            print(f"mitdb with electrode motion x{share}, {text}: {tally} {tally.false[:8]}", flush=True)
    for rms_mv in TREMOR_MV:
        tally = trembling(names, rms_mv)
        print(f"mitdb with a made tremor of {rms_mv} mV, first lead: {tally} {tally.false[:8]}", flush=True)
    tally = Tally()
    for name, _, mv in islice(cinc2017(), 0, None, said.every):
        count(tally, name, mv[:, None], CINC_HZ, [])
    print(f"cinc2017: {tally} {tally.false[:8]}", flush=True)


if __name__ == "__main__":
    main()
