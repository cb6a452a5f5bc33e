"""The van is known by its certificate: kept over restarts, bound in the signed invitation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync.keys.vehicle_key import VehicleKey
from sync.record.secret_file import KeyMissing
from telemedicine.invitation import case_of
from telemedicine.transport.certificate import fingerprint, kept_certificate, make_certificate
from telemedicine.wire import MessageRefused, invitation_bytes, parse_from_van

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "state" / "dtls.pem"
    first = kept_certificate(file, NOW)
    again = kept_certificate(file, NOW.replace(year=2029))
    assert fingerprint(first) == fingerprint(again)
    assert file.stat().st_mode & 0o777 == 0o600
    assert first._cert.not_valid_after_utc > NOW.replace(year=2035)


@pytest.mark.parametrize(
    "text", ["", "no PEM at all", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_spoilt_file_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    file = tmp_path / "dtls.pem"
    file.write_text(text)
    with pytest.raises(KeyMissing, match="move it away"):
        kept_certificate(file, NOW)
    assert file.read_text() == text, "nothing is overwritten"


def test_a_key_with_anothers_certificate_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    kept_certificate(one, NOW)
    kept_certificate(other, NOW)
    mixed = (
        one.read_text().partition("-----BEGIN CERT")[0]
        + "-----BEGIN CERT"
        + other.read_text().partition("-----BEGIN CERT")[2]
    )
    one.write_text(mixed)
    with pytest.raises(KeyMissing, match="do not belong together"):
        kept_certificate(one, NOW)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(KeyMissing, match="folder"):
        kept_certificate(tmp_path / "state" / "dtls.pem", NOW)


def test_the_invitation_is_signed_with_it(tmp_path: Path) -> None:
    key = VehicleKey.load_or_create(tmp_path / "van.key", "van-07.qingxi.example")
    shown = fingerprint(make_certificate(NOW))
    view = {"consultation": "consultation-1", "state": "requested", "urgency": "soon", "requested_at": "now"}
    case = case_of(view, key, None, shown)
    assert case.invitation.dtls_fingerprint == shown
    with_it = invitation_bytes("consultation-1", key.name, "soon", "now", {}, shown)
    without = invitation_bytes("consultation-1", key.name, "soon", "now", {})
    assert with_it != without
    assert shown.encode() in with_it
    told = parse_from_van(case.text())
    assert told == case
    with pytest.raises(MessageRefused, match="dtls_fingerprint"):
        parse_from_van(case.text().replace(shown, "AB:CD"))
