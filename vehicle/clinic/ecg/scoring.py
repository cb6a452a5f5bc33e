"""Plain functions for the scorers: whole recordings in, results out, each through the streaming code the van runs."""

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.rhythm import beat_scores


def af_score(beat_times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A score 0..1 for each beat, AF from 0.5; value i belongs to the interval that ends at beat i. Up to about a
    minute of beats is a lone strip: one score for all of it. ValueError where times are not finite and rising."""
    return beat_scores(beat_times_s)
