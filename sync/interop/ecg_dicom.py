"""An ECG as DICOM waveform (PS3.3, A.34): data sets from what the record says; no input or output.

==================  ==========================  ====================================================
what was recorded   SOP class                   PS3.3
==================  ==========================  ====================================================
12 leads, 200-1000  12-lead ECG (9.1.1)         A.34.3: at most 13 channels, 16,384 samples a group
Hz, not too long
200-1000 Hz, other  General ECG (9.1.2)         A.34.4: at most 24 channels
50-200 Hz           Ambulatory ECG (9.1.3)      A.34.5: at most 12 channels, one group
==================  ==========================  ====================================================

Counts are carried over, not converted: a value is count * ChannelSensitivity uV. Leads that follow from I and II are
written beside them, in halves of a count where that is what they are. What was never received is the padding value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    AmbulatoryECGWaveformStorage,
    ExplicitVRLittleEndian,
    GeneralECGWaveformStorage,
    TwelveLeadECGWaveformStorage,
)

from devices.ecg_files.scp_ecg import LEADS
from devices.readings import INVALID_COUNT
from sync.interop.dicom_names import text
from sync.interop.dicom_study import Machine, Patient, Study, begin, identify
from sync.interop.ecg_leads import Ecg, Lead

_CODE_OF = {name: number for number, name in LEADS.items()}
"""Lead codes of IEEE 11073-10101, as CID 3001 (PS3.16) has them: code value ``2:<number>``, scheme MDC."""
UNSPECIFIED = 0
LONGEST_TWELVE_LEAD = 16_384
MOST_CHANNELS = {TwelveLeadECGWaveformStorage: 13, GeneralECGWaveformStorage: 24, AmbulatoryECGWaveformStorage: 12}
LOWEST_HZ, GENERAL_FROM_HZ, HIGHEST_HZ = 50, 200, 1000
LARGEST_COUNT = 32_767
WHOLE_RECORDING, GROUP_ONE = 0, 1


class NoWaveformClass(ValueError):
    """DICOM has no ECG class for this recording."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording. ``number``: its place in the encounter, from 1; ``device_said_at``: when, by the clock of the
    device whose file it was imported from (ISO 8601 without zone)."""

    sha256: str
    number: int
    taken_at: datetime
    performed_by: str = ""
    device_said_at: str | None = None
    heart_rate_bpm: int | None = None
    said: tuple[str, ...] = ()
    """What is said of it, as text: findings, and whether anybody has reviewed them."""
    signed_at: str = ""
    """When a doctor signed that; with another signature it is another instance."""


def sop_class_of(ecg: Ecg) -> UID:
    """:raises NoWaveformClass: a rate, or more leads, than any of the classes allows"""
    if not LOWEST_HZ <= ecg.sample_rate_hz <= HIGHEST_HZ:
        raise NoWaveformClass(f"DICOM has no ECG of {ecg.sample_rate_hz:g} Hz")
    leads = len(ecg.names())
    if ecg.sample_rate_hz < GENERAL_FROM_HZ:
        chosen = AmbulatoryECGWaveformStorage
    elif ecg.is_twelve and len(ecg.counts) <= LONGEST_TWELVE_LEAD and leads <= 13:
        chosen = TwelveLeadECGWaveformStorage
    else:
        chosen = GeneralECGWaveformStorage
    if leads > MOST_CHANNELS[chosen]:
        raise NoWaveformClass(f"{chosen.name} holds no {leads} leads")
    return UID(chosen)


def data_set(
    patient: Patient,
    study: Study,
    machine: Machine,
    recording: Recording,
    ecg: Ecg,
    median_beat: Ecg | None = None,
) -> Dataset:
    """
    :param median_beat: the averaged beat of the same leads, a second group of the same rate
    :raises NoWaveformClass: see ``sop_class_of``; or there is not one sample
    """
    if not len(ecg.counts):
        raise NoWaveformClass("the recording has no sample")
    sop_class = sop_class_of(ecg)
    data = begin(
        patient, study, machine, "ECG", 2, recording.number, recording.taken_at, performed_by=recording.performed_by
    )
    if recording.device_said_at is not None:
        data.AcquisitionDateTime = datetime.fromisoformat(recording.device_said_at).strftime("%Y%m%d%H%M%S")
    data.AcquisitionContextSequence = []
    groups = [_group(ecg, "RHYTHM", "ORIGINAL")]
    if median_beat is not None and sop_class != AmbulatoryECGWaveformStorage:
        groups.append(_group(median_beat, "MEDIAN BEAT", "DERIVED"))
    data.WaveformSequence = groups
    notes = _annotations(recording)
    if notes:
        data.WaveformAnnotationSequence = notes
    form = f"ecg {recording.signed_at}".strip()
    identify(data, study, recording.sha256, form, sop_class, ExplicitVRLittleEndian)
    return data


def _group(ecg: Ecg, label: str, originality: str) -> Dataset:
    leads = [ecg.lead(name) for name in ecg.names()]
    columns = [_column(lead) for lead in leads]
    group = Dataset()
    group.WaveformOriginality = originality
    group.NumberOfWaveformChannels = len(leads)
    group.NumberOfWaveformSamples = len(ecg.counts)
    group.SamplingFrequency = _decimal(ecg.sample_rate_hz)
    group.MultiplexGroupLabel = label
    group.ChannelDefinitionSequence = [
        _channel(lead, ecg.resolution_uv / 2 * halves) for lead, (_, halves) in zip(leads, columns, strict=True)
    ]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    group.add_new("WaveformPaddingValue", "OW", INVALID_COUNT.to_bytes(2, "little", signed=True))
    group.add_new("WaveformData", "OW", np.column_stack([counts for counts, _ in columns]).astype("<i2").tobytes())
    return group


def _column(lead: Lead) -> tuple[npt.NDArray[np.int32], int]:
    """(counts that fit 16 bits, how many halves of a recorded count one of them is): whole counts where they are,
    halves where needed; only what does not fit is made coarser."""
    values = lead.twice[lead.there]
    largest = int(np.abs(values).max(initial=0))
    halves = 2 if not (values % 2).any() or largest > LARGEST_COUNT else 1
    while largest > LARGEST_COUNT * halves:
        halves *= 2
    counts = np.round(lead.twice / halves).astype(np.int32)
    counts[~lead.there] = INVALID_COUNT
    return counts, halves


def _channel(lead: Lead, sensitivity_uv: float) -> Dataset:
    channel = Dataset()
    channel.ChannelLabel = lead.name[:16]
    channel.ChannelStatus = "OK" if lead.there.any() else "DISCONNECTED"
    number = _CODE_OF.get(lead.name, UNSPECIFIED)
    meaning = f"Lead {lead.name}" if number else "Unspecified lead"
    channel.ChannelSourceSequence = [_code(f"2:{number}", "MDC", meaning)]
    if lead.derived:
        channel.ChannelDerivationDescription = "from leads I and II"
    channel.ChannelSensitivity = _decimal(sensitivity_uv)
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = "0"
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _annotations(recording: Recording) -> list[Dataset]:
    notes = []
    for words in recording.said:
        note = _note(0)
        note.UnformattedTextValue = text(words, 1024)
        notes.append(note)
    if recording.heart_rate_bpm is not None:
        note = _note(1)
        note.ConceptNameCodeSequence = [_code("8867-4", "LN", "Heart rate")]
        note.MeasurementUnitsCodeSequence = [_code("/min", "UCUM", "per minute")]
        note.NumericValue = str(recording.heart_rate_bpm)
        notes.append(note)
    return notes


def _note(group: int) -> Dataset:
    note = Dataset()
    note.ReferencedWaveformChannels = [GROUP_ONE, WHOLE_RECORDING]
    note.AnnotationGroupNumber = group
    return note


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _decimal(number: float) -> str:
    """As a DS takes it: at most 16 characters."""
    return f"{number:.10g}"
