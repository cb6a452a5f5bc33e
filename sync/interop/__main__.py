"""``python -m sync.interop`` makes one recording into DICOM and sends it: a job in, an answer out, both JSON.

A process of its own, because decoding and association block, and its memory goes when it ends. ``--echo HOST PORT
CALLED CALLING`` asks whether an archive answers; ``--write FILE`` writes the instance instead of sending it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from sync.interop import archive, dicom_study, ecg_dicom, ecg_leads, pictures, ultrasound_dicom
from sync.interop.job import Answer, Job


def main(arguments: list[str] | None = None) -> int:
    """0 when there is an answer, whatever it says; 1 when ``--echo`` fails."""
    parser = argparse.ArgumentParser(prog="python -m sync.interop", description=__doc__)
    parser.add_argument("--echo", nargs=4, metavar=("HOST", "PORT", "CALLED", "CALLING"))
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.echo:
        host, port, called, calling = options.echo
        outcome = archive.echo(archive.Archive(host, int(port), called, calling))
        print(outcome.reason or "the archive answers")
        return 0 if outcome.state is archive.State.STORED else 1
    job = Job.model_validate_json(sys.stdin.read())
    print(run(job, options.write).model_dump_json())
    return 0


def run(job: Job, write_to: Path | None = None) -> Answer:
    """Send what ``job`` names; a recording that cannot be read is refused like one that the archive does not take."""
    try:
        data = data_set(job)
    except (pictures.PictureUnreadable, OSError, ValueError) as fault:
        return Answer(state=str(archive.State.REFUSED), reason=f"the recording cannot be made into DICOM: {fault}")
    instance, study = str(data.SOPInstanceUID), str(data.StudyInstanceUID)
    if write_to is not None:
        write_to.write_bytes(archive.write(data))
        return Answer(
            state=str(archive.State.STORED),
            instance=instance,
            study=study,
            transfer_syntax=str(data.file_meta.TransferSyntaxUID),
        )
    outcome = archive.send(archive.Archive(**job.archive.model_dump()), data)
    return Answer(
        state=str(outcome.state),
        reason=outcome.reason,
        instance=instance,
        study=study,
        transfer_syntax=outcome.transfer_syntax,
        confirmed=outcome.confirmed,
    )


def data_set(job: Job) -> Dataset:
    """The instance of ``job``.

    :raises PictureUnreadable: the file is not what its name says, or no picture
    :raises EcgFileUnreadable, NoWaveformClass: no ECG, or one that DICOM has no class for
    """
    content = job.file.read_bytes()
    if hashlib.sha256(content).hexdigest() != job.sha256:
        raise pictures.PictureUnreadable("the file no longer has the bytes of its name")
    patient = dicom_study.Patient(**job.patient.model_dump())
    study = dicom_study.Study(**job.study.model_dump())
    machine = dicom_study.Machine(**job.machine.model_dump())
    if job.what == "ecg":
        ecg = ecg_leads.read(content)
        return ecg_dicom.data_set(patient, study, machine, _recording(job), ecg, _median_beat(job, ecg))
    if job.what == "ultrasound_still":
        still = pictures.still(content)
        image = _image(job, still.width, still.height)
        return ultrasound_dicom.still_data_set(patient, study, machine, image, still.rgb)
    if job.clips == "jpeg":
        clip = pictures.jpeg_clip(content)
        image = _image(job, clip.width, clip.height)
        return ultrasound_dicom.jpeg_clip_data_set(patient, study, machine, image, clip.frames, clip.times_s)
    whole = pictures.mp4_clip(content)
    image = _image(job, whole.width, whole.height)
    return ultrasound_dicom.mpeg4_clip_data_set(patient, study, machine, image, whole.mp4, whole.frames, whole.seconds)


def _recording(job: Job) -> ecg_dicom.Recording:
    return ecg_dicom.Recording(
        job.sha256,
        job.number,
        job.taken_at,
        job.performed_by,
        job.device_said_at,
        job.heart_rate_bpm,
        job.said,
        job.signed_at,
    )


def _median_beat(job: Job, ecg: ecg_leads.Ecg) -> ecg_leads.Ecg | None:
    if not job.median_beat:
        return None
    return replace(ecg, counts=np.array(job.median_beat, np.int16))


def _image(job: Job, width: int, height: int) -> ultrasound_dicom.Image:
    return ultrasound_dicom.Image(
        job.sha256, job.number, job.taken_at, width, height, job.pixel_mm, job.performed_by, job.comment
    )


if __name__ == "__main__":
    raise SystemExit(main())
