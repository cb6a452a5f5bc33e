"""The Internet Printing Protocol as far as a van prints A4: requests and answers as bytes (RFC 8010, RFC 8011). Pure.

Five operations: what the printer is and can, print a PDF, how a job stands, cancel it. ``print-scaling`` none
(PWG 5100.16) keeps an ECG at its true scale where the printer knows it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PRINT_JOB, CANCEL_JOB, GET_JOB, GET_PRINTER = 0x0002, 0x0008, 0x0009, 0x000B
MEDIA_TYPE = "application/ipp"
PDF = "application/pdf"
VERSION = 0x0200
FIRST_ERROR = 0x0400
"""Status codes from here on are refusals (RFC 8011, appendix B)."""
FORMAT_NOT_SUPPORTED = 0x040A
_OPERATION, _JOB, _END = 0x01, 0x02, 0x03
_INTEGER, _BOOLEAN, _ENUM = 0x21, 0x22, 0x23
_NAME, _KEYWORD, _URI, _CHARSET, _LANGUAGE, _MIME = 0x42, 0x44, 0x45, 0x47, 0x48, 0x49
_ANSWERED = (
    "printer-state", "printer-state-reasons", "printer-is-accepting-jobs", "document-format-supported",
    "printer-make-and-model", "print-scaling-supported", "media-supported", "printer-info",
)  # fmt: skip
A4 = "iso_a4_210x297mm"

Value = int | bool | str
JOB_ENDED = {7: "canceled", 8: "aborted", 9: "completed"}
"""job-state, RFC 8011, 5.3.7."""
STOPPED = 5
"""printer-state, RFC 8011, 5.4.11."""


class IppUnreadable(ValueError):
    """Not an IPP message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """:ivar attributes: of all groups, by name; each with all its values"""

    status: int
    attributes: Mapping[str, tuple[Value, ...]]

    @property
    def refused(self) -> bool:
        return self.status >= FIRST_ERROR

    def first(self, name: str) -> Value | None:
        return next(iter(self.attributes.get(name, ())), None)

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(str(value) for value in self.attributes.get(name, ()))


def get_printer(uri: str) -> bytes:
    return _message(GET_PRINTER, uri, [("requested-attributes", _KEYWORD, list(_ANSWERED))])


def print_job(uri: str, pdf: bytes, name: str, user: str, scaling: bool, media: bool) -> bytes:
    """:param scaling: the printer knows print-scaling; ``media``: it has A4 among its media"""
    said: list[tuple[str, int, list[Value]]] = [
        ("requesting-user-name", _NAME, [user]),
        ("job-name", _NAME, [name]),
        ("document-format", _MIME, [PDF]),
    ]
    job: list[tuple[str, int, list[Value]]] = [("copies", _INTEGER, [1])]
    if scaling:
        job.append(("print-scaling", _KEYWORD, ["none"]))
    if media:
        job.append(("media", _KEYWORD, [A4]))
    return _message(PRINT_JOB, uri, said, job) + pdf


def get_job(uri: str, job: int) -> bytes:
    asked: list[Value] = ["job-state", "job-state-reasons"]
    return _message(GET_JOB, uri, [("job-id", _INTEGER, [job]), ("requested-attributes", _KEYWORD, asked)])


def cancel_job(uri: str, job: int, user: str) -> bytes:
    return _message(CANCEL_JOB, uri, [("job-id", _INTEGER, [job]), ("requesting-user-name", _NAME, [user])])


def _message(
    operation: int,
    uri: str,
    said: Sequence[tuple[str, int, Sequence[Value]]],
    job: Sequence[tuple[str, int, Sequence[Value]]] = (),
) -> bytes:
    """Charset, language and printer come first, in this order (RFC 8011, 4.1.4.1)."""
    begin: list[tuple[str, int, Sequence[Value]]] = [
        ("attributes-charset", _CHARSET, ["utf-8"]),
        ("attributes-natural-language", _LANGUAGE, ["en"]),
        ("printer-uri", _URI, [uri]),
    ]
    written = struct.pack(">HHI", VERSION, operation, 1) + bytes([_OPERATION])
    written += b"".join(_attribute(*one) for one in (*begin, *said))
    if job:
        written += bytes([_JOB]) + b"".join(_attribute(*one) for one in job)
    return written + bytes([_END])


def _attribute(name: str, tag: int, values: Sequence[Value]) -> bytes:
    written = b""
    for place, value in enumerate(values):
        key = name.encode() if place == 0 else b""  # more values of one attribute have no name (RFC 8010, 3.1.5)
        body = _body(tag, value)
        written += bytes([tag]) + struct.pack(">H", len(key)) + key + struct.pack(">H", len(body)) + body
    return written


def _body(tag: int, value: Value) -> bytes:
    if tag in (_INTEGER, _ENUM):
        return struct.pack(">i", int(value))
    if tag == _BOOLEAN:
        return bytes([bool(value)])
    return str(value).encode()


def answer(message: bytes) -> Answer:
    """:raises IppUnreadable: cut off, or something else"""
    if len(message) < 9:
        raise IppUnreadable("an IPP answer has at least nine bytes")
    _, status, _ = struct.unpack_from(">HHI", message)
    found: dict[str, list[Value]] = {}
    at, name = 8, ""
    try:
        while (tag := message[at]) != _END:
            at += 1
            if tag < 0x10:
                name = ""
                continue
            key, at = _counted(message, at)
            body, at = _counted(message, at)
            name = key.decode(errors="replace") or name
            found.setdefault(name, []).append(_value(tag, body))
    except (IndexError, struct.error) as fault:
        raise IppUnreadable("the IPP answer is cut off") from fault
    return Answer(status, {key: tuple(values) for key, values in found.items()})


def _counted(message: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">H", message, at)
    end = at + 2 + length
    if end > len(message):
        raise IndexError(end)
    return message[at + 2 : end], end


def _value(tag: int, body: bytes) -> Value:
    if tag in (_INTEGER, _ENUM) and len(body) == 4:
        return int(struct.unpack(">i", body)[0])
    if tag == _BOOLEAN and len(body) == 1:
        return bool(body[0])
    return body.decode(errors="replace")
