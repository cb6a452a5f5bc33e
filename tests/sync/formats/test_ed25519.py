"""Ed25519 in pure Python against RFC 8032, against the edges that libraries differ about, and against OpenSSL."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.formats import ed25519, notes
from sync.formats.ed25519 import L, P, is_small_order, is_sound_key, verify


@dataclass(frozen=True)
class Vector:
    """RFC 8032 section 7.1."""

    name: str
    public_key: str
    message: str
    signature: str


RFC_8032 = (
    Vector(
        "TEST 1",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    Vector(
        "TEST 2",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    Vector(
        "TEST 3",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)

SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = KEY.public_key().public_bytes_raw()
MESSAGE = b"cosignature/v1\ntime 1788000000\nvan-07.qingyu.example\n12\n"
SIGNATURE = KEY.sign(MESSAGE)

SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
)
"""All points whose order divides 8."""


def openssl(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("vector", RFC_8032, ids=lambda vector: vector.name)
def test_vectors_of_rfc_8032(vector: Vector) -> None:
    key, message = bytes.fromhex(vector.public_key), bytes.fromhex(vector.message)
    signature = bytes.fromhex(vector.signature)
    assert verify(key, message, signature)
    assert not verify(key, message + b"\0", signature)


@settings(max_examples=25, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_signs_of_openssl_verify_and_those_for_another_message_do_not(seed: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert verify(public, message, signature)
    assert not verify(public, message + b"x", signature)


@settings(max_examples=60, deadline=None)
@given(bit=st.integers(0, 511))
def test_no_bit_of_a_signature_may_change(bit: int) -> None:
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    assert not verify(PUBLIC, MESSAGE, bytes(changed))
    assert not openssl(PUBLIC, MESSAGE, bytes(changed))


@settings(max_examples=60, deadline=None)
@given(key=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64))
def test_noise_is_no_signature_and_never_an_error(key: bytes, signature: bytes) -> None:
    assert verify(key, MESSAGE, signature) == openssl(key, MESSAGE, signature)
    assert not verify(PUBLIC, MESSAGE, signature)


def test_s_is_below_the_order() -> None:
    """S + L satisfies the same equation; taking it would let anyone make a second signature out of one."""
    s = int.from_bytes(SIGNATURE[32:], "little")
    for multiple in (1, 2, 7):
        again = SIGNATURE[:32] + (s + multiple * L).to_bytes(32, "little")
        assert not verify(PUBLIC, MESSAGE, again)
        assert not openssl(PUBLIC, MESSAGE, again)


def test_s_of_zero_and_of_the_order_less_one() -> None:
    for s in (0, L - 1, L, 2**252, 2**256 - 1):
        signature = SIGNATURE[:32] + s.to_bytes(32, "little")
        assert verify(PUBLIC, MESSAGE, signature) == openssl(PUBLIC, MESSAGE, signature) is False


@pytest.mark.parametrize("length", [0, 31, 63, 65, 96])
def test_other_lengths_are_refused(length: int) -> None:
    assert not verify(PUBLIC, MESSAGE, (SIGNATURE + SIGNATURE)[:length])
    assert not verify((PUBLIC * 4)[:length], MESSAGE, SIGNATURE)


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_a_key_of_small_order_fits_as_openssl_says_and_is_never_trusted(encoded: str) -> None:
    """With S = 0 and R = -[k]A such a key "signs" one message in eight or in one: notes must not take it."""
    key = bytes.fromhex(encoded)
    identity = bytes.fromhex(SMALL_ORDER[0])
    answers = set()
    for number in range(40):
        for r in SMALL_ORDER:
            signature, message = bytes.fromhex(r) + bytes(32), b"message %d" % number
            mine = verify(key, message, signature)
            assert mine == openssl(key, message, signature)
            answers.add(mine)
            assert not notes.VerifierKey("bad.example", notes.ED25519, key).verifies_message(message, signature)
    assert True in answers, "the edge was reached"
    assert is_small_order(key)
    assert not is_sound_key(key)
    assert verify(identity, b"whatever", identity + bytes(32)), "what is refused above does verify by the equation"


def test_eight_points_are_of_small_order_and_no_others_near_them() -> None:
    assert all(is_small_order(bytes.fromhex(encoded)) for encoded in SMALL_ORDER)
    assert not is_small_order(PUBLIC)
    assert is_small_order((P + 1).to_bytes(32, "little")), "the identity, not canonically written"


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
def test_keys_that_are_not_canonically_written_are_not_sound(y: int) -> None:
    for sign in (0, 1):
        assert not is_sound_key((y | sign << 255).to_bytes(32, "little"))


def test_a_key_off_the_curve_is_not_sound() -> None:
    off = next(y for y in range(2, 50) if ed25519._decode(y.to_bytes(32, "little")) is None)
    assert not is_sound_key(off.to_bytes(32, "little"))
    assert not verify(off.to_bytes(32, "little"), MESSAGE, SIGNATURE)
    assert is_sound_key(PUBLIC)


@pytest.mark.parametrize("has", [True, False])
def test_notes_verify_the_same_with_and_without_the_library(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "_HAS_CRYPTOGRAPHY", has)
    signer = notes.SeedSigner("county.example", SEED, notes.ED25519_COSIGNATURE)
    text = "van-07.qingyu.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    when = notes.datetime(2026, 9, 1, tzinfo=notes.UTC)
    line = notes.cosign(text, signer, when)
    assert signer.verifier_key().verifies(text, line)
    assert not signer.verifier_key().verifies(text + "x\n", line)
    torsion = notes.Signature(line.name, line.key_id, line.signature[:8] + bytes.fromhex(SMALL_ORDER[0]) + bytes(32))
    assert not signer.verifier_key().verifies(text, torsion)
