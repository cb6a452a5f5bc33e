"""Arm electrodes that are exchanged, seen in the median beat. Pure.

The median over beats, sample by sample, keeps what each beat has and drops what one has (the representative beat of
IEC 60601-2-25 analysis programs). Signs of LA and RA exchanged: lead I upside down in P, QRS and T, aVR upright, V6 not
upside down, which tells it from dextrocardia (AHA/ACC/HRS 2007, part II, "lead misplacement"; Batchvarov, Malik, Camm,
Europace 2007).
"""

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vehicle.clinic.ecg.events import SwapHint
from vehicle.clinic.ecg.signals import Signals

Floats = npt.NDArray[np.float64]

BEFORE_S, AFTER_S = 0.35, 0.55
BEATS, LEAST_BEATS = 12, 8
P_S, QRS_S, T_S = (-0.24, -0.08), (-0.06, 0.06), (0.14, 0.40)
BASELINE_S = (-0.08, -0.05)
LEAST_MV = {"P": 0.04, "QRS": 0.2, "T": 0.05}
"""Smaller waves have no direction that can be told (project choice, above the 30 uV noise of IEC 60601-2-25)."""


class ArmElectrodes:
    """Looks at the median of the last twelve beats of the usual shape: are the electrodes of the arms exchanged?"""

    def __init__(self, leads: Sequence[str], signals: Signals) -> None:
        self._leads = tuple(leads)
        self._beats: deque[Floats] = deque(maxlen=BEATS)
        self.begin_anew(signals)

    def begin_anew(self, signals: Signals) -> None:
        """After a gap: beats collected so far are kept."""
        self._signals = signals
        self._waiting: deque[int] = deque()

    def beat(self, fiducial: int) -> None:
        self._waiting.append(fiducial)

    def collect(self) -> None:
        """Cuts out the beats that are whole by now."""
        before, after = self._signals.columns(BEFORE_S), self._signals.columns(AFTER_S)
        while self._waiting and self._waiting[0] + after <= self._signals.known_magnitude:
            fiducial = self._waiting.popleft()
            if self._signals.holds(fiducial - before, fiducial + after):
                self._beats.append(self._signals.clean(fiducial - before, fiducial + after).copy())

    def swap(self, sample: int) -> SwapHint | None:
        """The hint, when the signs are there."""
        if not {"I", "aVR"} <= set(self._leads) or len(self._beats) < LEAST_BEATS:
            return None
        median = np.median(np.stack(self._beats), axis=0)
        waves = {lead: self._waves(median[index]) for index, lead in enumerate(self._leads)}
        inverted = all(waves["I"][name] < -least for name, least in LEAST_MV.items())
        upright = all(waves["aVR"][name] > 0 for name in LEAST_MV)
        apex = waves.get("V6")
        if not inverted or not upright or (apex is not None and apex["QRS"] <= 0):
            return None
        signs = ["I inverted", "aVR upright"] + (["V6 upright"] if apex is not None else [])
        return SwapHint(sample, "LA/RA", tuple(signs))

    def _waves(self, beat: Floats) -> dict[str, float]:
        """Largest deflection of P, QRS and T from the line before the QRS, with its sign, in mV."""
        rate, r = self._signals.rate_hz, self._signals.columns(BEFORE_S)

        def part(bounds: tuple[float, float]) -> Floats:
            return beat[max(0, r + round(bounds[0] * rate)) : r + round(bounds[1] * rate)]

        line = float(np.median(part(BASELINE_S)))
        parts = {"P": part(P_S) - line, "QRS": part(QRS_S) - line, "T": part(T_S) - line}
        return {name: float(wave[np.abs(wave).argmax()]) for name, wave in parts.items()}
