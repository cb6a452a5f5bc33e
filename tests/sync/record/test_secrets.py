"""Keys, sealed fields, names and signed requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from sync.formats.identifiers import Identifiers
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner
from sync.formats.request_signature import Claim, SignatureRefused, signature_headers
from sync.keys.sealing import SealBroken, Sealer
from sync.keys.vehicle_key import VehicleKey, fingerprint, verify_for
from sync.record.secret_file import KeyMissing
from tests.sync.conftest import ORIGIN, START


def test_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "journal.key"
    first = VehicleKey.load_or_create(path, ORIGIN)
    again = VehicleKey.load_or_create(path, ORIGIN)
    assert again.verifier_key() == first.verifier_key()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["journal.key"]
    assert re.fullmatch(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", fingerprint(first.verifier_key()))


def test_key_of_another_log_or_use_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.key"
    VehicleKey.load_or_create(path, ORIGIN)
    with pytest.raises(KeyMissing, match="holds the key of"):
        VehicleKey.load_or_create(path, "van-08.qingyu.example")
    with pytest.raises(KeyMissing):
        VehicleKey.load_or_create(path, ORIGIN, algorithm=ED25519_COSIGNATURE)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-6],
        lambda text: text.replace("PRIVATE", "PUBLIC"),
        lambda text: text.replace("AR", "BR").replace("AT", "BT").replace("Aa", "Ba") + "x",
    ],
)
def test_damaged_key_asks_for_its_backup(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "journal.key"
    VehicleKey.load_or_create(path, ORIGIN)
    path.write_text(change(path.read_text()))
    with pytest.raises(KeyMissing, match="backup"):
        VehicleKey.load_or_create(path, ORIGIN)


def test_signature_is_good_for_one_purpose() -> None:
    key = VehicleKey(ORIGIN, b"v" * 32)
    signature = key.sign_for("exchange-challenge", b"nonce")
    assert verify_for(key.verifier_key(), "exchange-challenge", b"nonce", signature)
    assert not verify_for(key.verifier_key(), "invitation", b"nonce", signature)
    assert not key.verifier_key().verifies_message(b"nonce", signature)


@given(st.text(max_size=40))
def test_sealed_fields_open_with_their_key_only(text: str) -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(text)
    assert sealer.unseal(sealed) == text
    assert sealed != sealer.seal(text), "equal numbers look different"
    for other, field in ((Sealer(b"o" * 32), "id_number"), (sealer, "phone")):
        with pytest.raises(SealBroken):
            other.unseal(sealed, field)
    for damaged in (sealed[:-2], "s1.", "s1.!!", "", sealed[:8] + ("A" if sealed[8] != "A" else "B") + sealed[9:]):
        with pytest.raises(SealBroken):
            sealer.unseal(damaged)


def test_keyed_hash_finds_a_person_again_under_the_same_key_only(tmp_path: Path) -> None:
    first = Sealer.load_or_create(tmp_path / "field.key")
    again = Sealer.load_or_create(tmp_path / "field.key")
    number = "11010519491231002X"
    assert again.keyed_hash(number) == first.keyed_hash(number)
    assert Sealer(b"o" * 32).keyed_hash(number) != first.keyed_hash(number)
    assert number not in (tmp_path / "field.key").read_text()
    (tmp_path / "field.key").write_text("cut")
    with pytest.raises(KeyMissing, match="backup"):
        Sealer.load_or_create(tmp_path / "field.key")


def test_names_sort_by_time_and_never_repeat(clock: SimulatedClock) -> None:
    names = Identifiers(clock)
    given_out = []
    for step in range(200):
        given_out.append(names.new("visit"))
        if step == 100:
            clock.set_wall(START - timedelta(days=3))
        elif step % 3:
            clock.advance(0.7)
    assert given_out == sorted(set(given_out))
    assert re.fullmatch(r"visit-[0-7][0-9A-HJKMNP-TV-Z]{25}", given_out[0])


def test_names_are_ulids() -> None:
    """The example of the ULID specification, its random part given."""
    at = datetime(2016, 7, 30, 23, 54, 10, 259_000, tzinfo=UTC)
    random_part = bytes.fromhex("d6764c61efb99302bd5b")
    assert Identifiers(SimulatedClock(at), lambda _: random_part).new("visit") == "visit-01ARZ3NDEKTSV4RRFFQ69G5FAV"


SIGNER = SeedSigner(ORIGIN, b"v" * 32)
TARGET = f"/log/{ORIGIN}/add-entries?x=1"


def claim(**change: object) -> None:
    """Sign a request, change something, verify it."""
    headers = {name.lower(): value for name, value in signature_headers(SIGNER, "POST", TARGET, b"body", START).items()}
    headers |= {str(name): str(value) for name, value in dict(change.get("headers", {})).items()}  # type: ignore[call-overload]
    key = change.get("key", SIGNER.verifier_key())
    now = change.get("now", START)
    Claim.read(headers).verify(
        key,  # type: ignore[arg-type]
        str(change.get("method", "POST")),
        str(change.get("target", TARGET)),
        headers,
        bytes(change.get("body", b"body")),  # type: ignore[call-overload]
        now,  # type: ignore[arg-type]
    )


def test_signed_request_is_accepted_within_its_time() -> None:
    claim()
    claim(now=START + timedelta(seconds=299))
    claim(now=START - timedelta(seconds=299))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"target": TARGET + "2"},
        {"target": TARGET.replace("add-entries", "add-checkpoint")},
        {"body": b"another"},
        {"key": SeedSigner(ORIGIN, b"o" * 32).verifier_key()},
        {"key": SeedSigner("van-08", b"v" * 32).verifier_key()},
        {"headers": {"signature": ""}},
        {"headers": {"signature": "van=:AAAA:"}},
        {"headers": {"signature": "van=:A:"}},
        {"headers": {"signature-input": "van=();created=1"}},
        {"headers": {"content-digest": "sha-256=:AAAA:"}},
    ],
)
def test_request_that_was_not_signed_like_this_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(SignatureRefused) as refusal:
        claim(**change)
    assert not refusal.value.clock


def test_old_request_is_refused_for_its_time_alone() -> None:
    for seconds in (301, -301):
        with pytest.raises(SignatureRefused) as refusal:
            claim(now=START + timedelta(seconds=seconds))
        assert refusal.value.clock
