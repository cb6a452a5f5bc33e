"""One association with a hospital's picture archive (PACS): C-STORE, and C-FIND to see that the image is there.

What came of it is one of ``Outcome``: said in words that name what to do, so that nobody has to look up a status code.
Blocking: for a process of its own (``python -m sync.interop``).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.association import Association

from sync.interop.dicom_names import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

VERIFICATION = UID("1.2.840.10008.1.1")
STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
LARGEST_PDU_BYTES = 64 * 1024
CALLED_AE_UNKNOWN, CALLING_AE_UNKNOWN = 7, 3
"""Diagnostics of an A-ASSOCIATE-RJ (PS3.8, 9.3.4)."""
PERMANENT = 1


class State(StrEnum):
    STORED = "stored"
    """The archive has it and said so."""
    REFUSED = "refused"
    """The archive will not take this image: a person has to look."""
    ASSOCIATION_REFUSED = "association_refused"
    """The archive does not talk to us at all: its settings or ours have to be corrected."""
    UNREACHABLE = "unreachable"
    """No connection, or it broke, or the archive has no room now: try again."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where images go. Titles have at most 16 characters (VR AE)."""

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout_s: float = 30.0

    @property
    def destination(self) -> str:
        """As entries name it."""
        return f"{self.called_ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Outcome:
    state: State
    reason: str = ""
    transfer_syntax: str = ""
    confirmed: bool = False
    """C-FIND found the instance afterwards; False also when the archive answers no queries from us."""


class _Broken(Exception):
    """``outcome`` says why nothing can be sent."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def send(archive: Archive, data: Dataset) -> Outcome:
    """Store one instance. Its ``file_meta`` names the transfer syntax; nothing is converted on the way."""
    sop_class, syntax = UID(data.SOPClassUID), UID(data.file_meta.TransferSyntaxUID)
    try:
        with _associated(archive, [(sop_class, syntax)]) as association:
            if not any(context.abstract_syntax == sop_class for context in association.accepted_contexts):
                return Outcome(State.REFUSED, f"the archive takes no {sop_class.name} as {syntax.name}")
            status = association.send_c_store(data)
            outcome = _of_status(status, str(syntax))
            if outcome.state is not State.STORED:
                return outcome
            return Outcome(State.STORED, outcome.reason, str(syntax), _is_there(association, data))
    except _Broken as broken:
        return broken.outcome


def echo(archive: Archive) -> Outcome:
    """Whether the archive answers (C-ECHO): for whoever sets it up."""
    try:
        with _associated(archive, []) as association:
            status = association.send_c_echo()
            return Outcome(State.STORED if status and status.Status == 0 else State.UNREACHABLE, "")
    except _Broken as broken:
        return broken.outcome


@contextmanager
def _associated(archive: Archive, contexts: list[tuple[UID, UID]]) -> Iterator[Association]:
    """:raises _Broken: there is no association, or it broke"""
    entity = AE(ae_title=archive.calling_ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_UID)
    entity.implementation_version_name = IMPLEMENTATION_NAME
    entity.connection_timeout = entity.acse_timeout = entity.network_timeout = archive.timeout_s
    entity.dimse_timeout = 2 * archive.timeout_s
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    entity.add_requested_context(STUDY_ROOT_FIND)
    entity.add_requested_context(VERIFICATION)
    association = entity.associate(
        archive.host, archive.port, ae_title=archive.called_ae_title, max_pdu=LARGEST_PDU_BYTES
    )
    if not association.is_established:
        raise _Broken(_why_not(association, archive))
    try:
        yield association
    finally:
        _end(association)


def _end(association: Association) -> None:
    if association.is_established:
        association.release()
    else:
        association.abort()


def _why_not(association: Association, archive: Archive) -> Outcome:
    answer = association.acceptor.primitive
    if not association.is_rejected or answer is None:
        return Outcome(State.UNREACHABLE, f"{archive.host}:{archive.port} does not answer")
    if answer.diagnostic == CALLED_AE_UNKNOWN:
        words = f"the archive is not called {archive.called_ae_title}: correct called_ae_title"
    elif answer.diagnostic == CALLING_AE_UNKNOWN:
        words = f"the archive does not know us as {archive.calling_ae_title}: let the hospital register this title"
    else:
        words = f"the archive refuses the association: {answer.result_str}, {answer.reason_str}"
    transient = answer.result != PERMANENT
    return Outcome(State.UNREACHABLE if transient else State.ASSOCIATION_REFUSED, words)


def _of_status(status: Dataset, syntax: str) -> Outcome:
    """PS3.4, B.2.3: what a C-STORE response means for us."""
    code = status.get("Status")
    if code is None:
        return Outcome(State.UNREACHABLE, "the connection broke while sending")
    said = f"status {code:04X}" + (f": {status.ErrorComment}" if status.get("ErrorComment") else "")
    if code == 0 or code & 0xF000 == 0xB000:
        return Outcome(State.STORED, "" if code == 0 else f"stored with a warning, {said}", syntax)
    if code & 0xFF00 == 0xA700 or code in (0x0110, 0x0213):
        return Outcome(State.UNREACHABLE, f"the archive has no room now, {said}")
    if code == 0x0124:
        return Outcome(State.ASSOCIATION_REFUSED, f"the archive does not allow us to store, {said}")
    return Outcome(State.REFUSED, f"the archive will not take this image, {said}", syntax)


def _is_there(association: Association, data: Dataset) -> bool:
    """Whether a query finds the instance; False when the archive answers no queries."""
    contexts = {context.abstract_syntax for context in association.accepted_contexts}
    if STUDY_ROOT_FIND not in contexts or not association.is_established:
        return False
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = data.StudyInstanceUID
    query.SeriesInstanceUID = data.SeriesInstanceUID
    query.SOPInstanceUID = data.SOPInstanceUID
    found = False
    for status, identifier in association.send_c_find(query, STUDY_ROOT_FIND):
        pending = "Status" in status and status.Status in (0xFF00, 0xFF01)
        if pending and identifier is not None and identifier.get("SOPInstanceUID") == data.SOPInstanceUID:
            found = True
    return found


def write(data: Dataset) -> bytes:
    """The instance as a DICOM file (PS3.10)."""
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()
