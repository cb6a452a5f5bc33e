"""Plain functions for the scorers: whole recordings in, results out, each through the streaming code the van runs."""

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.chain import EcgChain
from vehicle.clinic.ecg.events import Beat, RhythmAssessment
from vehicle.clinic.ecg.rhythm import beat_scores
from vehicle.clinic.ecg.rhythm_summary import summarise


def af_score(beat_times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A score 0..1 for each beat, AF from 0.5; value i belongs to the interval that ends at beat i. Up to about a
    minute of beats is a lone strip: one score for all of it. A beat that is marked twice is one beat. ValueError where
    times are not finite or fall."""
    times = np.asarray(beat_times_s, np.float64)
    once = np.diff(times, prepend=-np.inf) != 0 if times.ndim == 1 and np.isfinite(times).all() else np.array(True)
    return beat_scores(times) if once.all() else beat_scores(times[once])[np.cumsum(once) - 1]


def af_record(signal_mv: npt.NDArray[np.float64], fs: float) -> float:
    """float64[n] in mV of one lead -> score 0..1 of the whole recording, AF from 0.5 (``rhythm_summary.summarise``),
    from beats and P waves through the whole chain. 0 where there are too few beats to say anything."""
    chain = EcgChain(("ECG",), fs)
    told = chain.push(np.asarray(signal_mv, np.float64)[:, None]) + chain.flush()
    return summarise([event for event in told if isinstance(event, RhythmAssessment)], fs).score


class QrsStream:
    """Beats of one lead, as they come."""

    def __init__(self, fs_hz: float) -> None:
        self._chain = EcgChain(("ECG",), fs_hz, screen_af=False)

    def push(self, chunk_mv: npt.NDArray[np.float64]) -> list[int]:
        """float64[n] in mV -> samples of the beats that became known, counted from the first sample pushed."""
        told = self._chain.push(np.asarray(chunk_mv, np.float64)[:, None])
        return [event.sample for event in told if isinstance(event, Beat)]

    def flush(self) -> list[int]:
        """No more samples will come: the beats that were still waited for."""
        return [event.sample for event in self._chain.flush() if isinstance(event, Beat)]


def qrs_stream(fs: float) -> QrsStream:
    """A detector for one lead sampled at ``fs`` Hz."""
    return QrsStream(fs)


def qrs_batch(signal_mv: npt.NDArray[np.float64], fs: float) -> npt.NDArray[np.int64]:
    """float64[n] in mV -> samples of the beats, through the same stream."""
    stream = QrsStream(fs)
    return np.array(stream.push(signal_mv) + stream.flush(), np.int64)
