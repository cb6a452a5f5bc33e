"""ECG files that devices write onto cards and sticks: bytes in, a document out. Pure.

``read`` finds the format by the bytes, never by the file's name.
"""

from __future__ import annotations

from collections.abc import Callable

from devices.ecg_files import contec_ecg, dicom_ecg, pc80b_ecg, scp_ecg, wfdb_ecg
from devices.ecg_files.document import LARGEST_FILE_BYTES, EcgDocument, EcgFileRefused

SUFFIXES = (".ecg", ".scp", ".dcm", ".hea")
"""By which such files are listed; what they are is told by their bytes."""


def _nothing(name: str) -> bytes:
    raise FileNotFoundError(2, "not there", name)


def read(content: bytes, beside: Callable[[str], bytes] = _nothing) -> EcgDocument:
    """
    :param beside: the bytes of another file of the same folder, by its plain name; raises OSError where there is none.
        Only a WFDB header asks for one.
    :raises EcgFileRefused: no ECG file that we know, too large, damaged, or of a kind that is not read here.
    """
    if len(content) > LARGEST_FILE_BYTES:
        raise EcgFileRefused(f"{len(content)} bytes are more than the {LARGEST_FILE_BYTES} that are read")
    if pc80b_ecg.recognises(content):  # before SCP-ECG, which it looks like
        return pc80b_ecg.read(content)
    if scp_ecg.recognises(content):
        return scp_ecg.read(content)
    if dicom_ecg.recognises(content):
        return dicom_ecg.read(content)
    if contec_ecg.recognises(content):
        return contec_ecg.read(content)
    if wfdb_ecg.recognises(content):
        return wfdb_ecg.read(content, beside)
    raise EcgFileRefused("neither a Contec .ECG nor an SCP-ECG, DICOM or WFDB file")
