"""From raw millivolts to the signals that detection reads: clean, band, fused magnitude, envelope and slope. Pure,
streaming; every sample is computed one after the other, so how the input is cut changes no bit of the output.

All signals are read by *aligned* columns: column i lies at sample ``i * step`` of the recording, whatever its filter's
delay; what a delay still holds back is not known yet (``known_envelope``, ``known_magnitude``).

Where the numbers come from
- 0.5-40 Hz: monitoring bandwidth of IEC 60601-2-27.
- 6-18 Hz, first order: most QRS energy above P, T and below muscle (Thakor, Webster, Tompkins, IEEE Trans Biomed Eng
  1984: best QRS to noise ratio near 17 Hz; Pan and Tompkins, IEEE Trans Biomed Eng 1985: 5-15 Hz).
- magnitude over leads as root of the mean square: spatial velocity (CSE Working Party 1985) of the band signal.
- envelope over 90 ms: about one QRS (Pan and Tompkins 150 ms with squares, Hamilton 2002 80 ms with absolutes).
- 250 Hz and less are enough for the R peak within 4 ms (Task Force of ESC/NASPE, Circulation 1996: 200 Hz upwards).
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, lfilter, sosfilt, sosfreqz

from vehicle.clinic.ecg.timeline import Timeline

Floats = npt.NDArray[np.float64]

WORKING_HZ = 250.0
KEPT_S = 14.0
CLEAN_BAND_HZ = (0.5, 40.0)
QRS_BAND_HZ = (6.0, 18.0)
QRS_HZ = 11.0
ENVELOPE_S, SMOOTHING_S = 0.09, 0.0225


def _delay(sos: Floats, fs_hz: float) -> float:
    """Group delay of a filter for a QRS, in samples."""
    w = 2 * np.pi * QRS_HZ * np.array([0.95, 1.05]) / fs_hz
    phase = np.unwrap(np.angle(sosfreqz(sos, w)[1]))
    return float((phase[0] - phase[1]) / (w[1] - w[0]))


class Signals:
    """Signals of ``leads`` leads recorded at ``fs_hz``."""

    def __init__(self, leads: int, fs_hz: float) -> None:
        self.step = max(1, int(fs_hz / WORKING_HZ))
        self.rate_hz = fs_hz / self.step
        self.leads = leads
        self.weights = np.full(leads, 1.0 / leads)
        low, high = CLEAN_BAND_HZ
        self._clean_sos = np.vstack(
            [butter(1, low, "high", fs=fs_hz, output="sos"), butter(2, high, fs=fs_hz, output="sos")]
        )
        self._band_sos = butter(1, QRS_BAND_HZ, "band", fs=self.rate_hz, output="sos")
        boxes = [np.full(n, 1.0 / n) for n in (self.columns(ENVELOPE_S), max(3, self.columns(SMOOTHING_S)))]
        self._kernel = np.convolve(boxes[0], boxes[1])
        self._clean_delay = round(_delay(self._clean_sos, fs_hz) / self.step)
        self._band_delay = self._clean_delay + round(_delay(self._band_sos, self.rate_hz))
        self._envelope_delay = self._band_delay + (len(self._kernel) - 1) // 2
        keep = self.columns(KEPT_S)
        self._clean, self._band = Timeline(leads, keep), Timeline(leads, keep)
        self._fused = Timeline(3, keep)
        self._taken = 0
        self._clean_state = np.zeros((len(self._clean_sos), leads, 2))
        self._band_state = np.zeros((len(self._band_sos), leads, 2))
        self._envelope_state = np.zeros(len(self._kernel) - 1)
        self._before = np.zeros((leads, 1))

    def columns(self, seconds: float) -> int:
        return round(seconds * self.rate_hz)

    @property
    def received(self) -> int:
        """Columns computed so far, delays not taken off."""
        return self._clean.end

    @property
    def held_back(self) -> int:
        """By how many columns the envelope is behind what was received."""
        return self._envelope_delay

    @property
    def quicker(self) -> int:
        """By how many columns magnitude and slope are known before the envelope."""
        return self._envelope_delay - self._band_delay - 1

    @property
    def known_envelope(self) -> int:
        return max(0, self.received - self._envelope_delay)

    @property
    def known_clean(self) -> int:
        """Up to here the clean signal is known."""
        return max(0, self.received - self._clean_delay)

    @property
    def known_magnitude(self) -> int:
        """Up to here clean, band, magnitude and slope are known."""
        return max(0, self.received - self._band_delay)

    def push(self, mv: Floats) -> Floats:
        """float64[leads, n] without NaN. Returns the new columns of the clean signal, not aligned."""
        clean, self._clean_state = sosfilt(self._clean_sos, mv, zi=self._clean_state)
        clean = clean[:, (-self._taken) % self.step :: self.step]
        self._taken += mv.shape[1]
        if clean.shape[1]:
            self._add(clean)
        return np.asarray(clean, np.float64)

    def _add(self, clean: Floats) -> None:
        band, self._band_state = sosfilt(self._band_sos, clean, zi=self._band_state)
        steps = np.diff(clean, axis=1, prepend=self._before)
        self._before = clean[:, -1:].copy()
        fused = np.empty((3, clean.shape[1]))
        fused[0] = self.over_leads(band)
        fused[1], self._envelope_state = lfilter(self._kernel, [1.0, 0.0], fused[0], zi=self._envelope_state)
        fused[2] = self.over_leads(steps)
        self._clean.append(clean)
        self._band.append(band)
        self._fused.append(fused)

    def over_leads(self, x: Floats) -> Floats:
        """Weighted root mean square over the leads; accumulate adds one lead after the other, whatever the length."""
        weighted = x * x * self.weights[:, None]
        total: Floats = weighted[0] if self.leads == 1 else np.add.accumulate(weighted, axis=0)[-1]
        return np.sqrt(total)

    def clean(self, begin: int, end: int) -> Floats:
        """float64[leads, columns] of the 0.5-40 Hz signal in mV."""
        return self._clean.read(begin + self._clean_delay, end + self._clean_delay)

    def band(self, begin: int, end: int) -> Floats:
        return self._band.read(begin + self._band_delay, end + self._band_delay)

    def magnitude(self, begin: int, end: int) -> Floats:
        row: Floats = self._fused.read(begin + self._band_delay, end + self._band_delay)[0]
        return row

    def envelope(self, begin: int, end: int) -> Floats:
        row: Floats = self._fused.read(begin + self._envelope_delay, end + self._envelope_delay)[1]
        return row

    def slope(self, begin: int, end: int) -> Floats:
        """Fused step of the clean signal from one column to the next."""
        row: Floats = self._fused.read(begin + self._clean_delay, end + self._clean_delay)[2]
        return row

    def holds(self, begin: int, end: int) -> bool:
        """Whether the clean signal of these columns can be read."""
        return (
            begin >= 0 and begin + self._clean_delay >= self._clean.begin and end + self._clean_delay <= self.received
        )
