"""A WFDB record from the disk: what the demo plays instead of a synthesised ECG."""

from __future__ import annotations

from pathlib import Path

from devices.ecg_files.wfdb_record import RecordRefused, WfdbRecord, parse

__all__ = ["RecordRefused", "WfdbRecord", "read_record"]


def read_record(path: Path) -> WfdbRecord:
    """``path`` is the record with or without .hea, .dat or .mat.

    :raises RecordRefused: missing or short file, a form this reader does not know; the message says which.
    """
    header = path.with_suffix(".hea") if path.suffix in (".hea", ".dat", ".mat") else path.with_name(path.name + ".hea")
    try:
        text = header.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise RecordRefused(f"{header}: {fault.strerror}; give the path of a WFDB record, e.g. dir/HR06009") from None
    return parse(str(header), text, lambda name: (header.parent / name).read_bytes())
