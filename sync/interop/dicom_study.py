"""What every DICOM instance of ours says alike: person, encounter as study, machine as series. Pure.

Texts are UTF-8 (ISO_IR 192). Times are local, with their offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from sync.interop.dicom_names import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, person_name, text, uid

LOCAL = timezone(timedelta(hours=8))
SEXES = {"male": "M", "female": "F"}


@dataclass(frozen=True, slots=True)
class Patient:
    patient: str
    name: str
    initials: str = ""
    ethnicity_code: str = ""
    sex: str = ""
    born_on: date | None = None


@dataclass(frozen=True, slots=True)
class Study:
    """One encounter with what was recorded in it."""

    origin: str
    encounter: str
    begun_at: datetime
    institution: str
    station: str
    description: str = "巡诊检查"
    referring: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    manufacturer: str = ""
    model: str = ""
    serial: str = ""


def study_uid(study: Study) -> str:
    return uid(study.origin, "study", study.encounter)


def instance_uid(study: Study, sha256: str, form: str) -> str:
    """:param form: "still", "jpeg", "mpeg4" or "ecg" (with the time it was signed): another form of one recording is
    another instance"""
    return uid(study.origin, "instance", sha256, form)


def begin(
    patient: Patient,
    study: Study,
    machine: Machine,
    modality: str,
    series_number: int,
    number: int,
    taken_at: datetime,
    performed_by: str = "",
) -> Dataset:
    """Patient, study, series, equipment, and when this instance was taken.

    :param number: the recording's place in the encounter, from 1
    """
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.TimezoneOffsetFromUTC = "+0800"
    # patient
    data.PatientName = person_name(patient.name, patient.initials, patient.ethnicity_code)
    data.PatientID = text(patient.patient, 64)
    data.IssuerOfPatientID = text(study.origin, 64)
    data.PatientBirthDate = patient.born_on.strftime("%Y%m%d") if patient.born_on else ""
    data.PatientSex = SEXES.get(patient.sex, "O")
    # study: one encounter
    begun_at = study.begun_at.astimezone(LOCAL)
    data.StudyInstanceUID = study_uid(study)
    data.StudyID = text(study.encounter[-16:], 16)
    data.StudyDate, data.StudyTime = begun_at.strftime("%Y%m%d"), begun_at.strftime("%H%M%S")
    data.StudyDescription = text(study.description, 64)
    data.AccessionNumber = ""
    data.ReferringPhysicianName = person_name(study.referring) if study.referring else ""
    # series: what one machine gave in it
    data.Modality = modality
    data.SeriesInstanceUID = uid(study.origin, "series", study.encounter, machine.name)
    data.SeriesNumber = series_number
    if performed_by:
        data.PerformingPhysicianName = person_name(performed_by)
    # equipment
    data.Manufacturer = text(machine.manufacturer, 64)
    data.InstitutionName = text(study.institution, 64)
    data.StationName = text(study.station, 16)
    if machine.model:
        data.ManufacturerModelName = text(machine.model, 64)
    if machine.serial:
        data.DeviceSerialNumber = text(machine.serial, 64)
    # the instance
    local = taken_at.astimezone(LOCAL)
    data.InstanceNumber = number
    data.ContentDate, data.ContentTime = local.strftime("%Y%m%d"), local.strftime("%H%M%S.%f")
    data.AcquisitionDateTime = local.strftime("%Y%m%d%H%M%S.%f+0800")
    return data


def identify(data: Dataset, study: Study, sha256: str, form: str, sop_class: UID, transfer_syntax: UID) -> None:
    """Which instance it is, of which class, in which transfer syntax."""
    data.SOPClassUID = sop_class
    data.SOPInstanceUID = instance_uid(study, sha256, form)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, data.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    data.file_meta = meta
