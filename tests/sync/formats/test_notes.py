"""Signed notes against published examples, and every changed byte refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.formats.merkle import EMPTY_ROOT
from sync.formats.notes import (
    ED25519_COSIGNATURE,
    Checkpoint,
    Note,
    NoteRefused,
    SeedSigner,
    Signature,
    VerifierKey,
    cosign,
    cosigned_at,
    sign_text,
)

# golang.org/x/mod/sumdb/note, package example; C2SP signed-note prints a sibling of it.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
C2SP_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
# C2SP tlog-cosignature, example of a cosigned checkpoint (its keys are not published).
C2SP_CHECKPOINT = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501

VAN = SeedSigner("van-07.qingyu.example", b"v" * 32)
COUNTY = SeedSigner("county.qingyu.example", b"c" * 32, ED25519_COSIGNATURE)
AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(("key", "note"), [(GO_KEY, GO_NOTE), (C2SP_KEY, C2SP_NOTE)])
def test_published_notes_verify(key: str, note: str) -> None:
    parsed = Note.parse(note.encode())
    verifier = VerifierKey.parse(key)
    assert str(verifier) == key
    assert bytes(parsed) == note.encode()
    assert parsed.verified_by([verifier]) == parsed.signatures


def test_published_cosigned_checkpoint_is_read() -> None:
    note = Note.parse(C2SP_CHECKPOINT.encode())
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == note.text
    assert cosigned_at(note.signatures[1]) == datetime.fromtimestamp(1679315147, UTC)
    assert bytes(note) == C2SP_CHECKPOINT.encode()


def cosigned() -> Note:
    note = Checkpoint("van-07.qingyu.example", 0, EMPTY_ROOT).signed(VAN)
    return note.signed_also([cosign(note.text, COUNTY, AT)])


def test_log_and_county_sign_the_same_checkpoint() -> None:
    note = Note.parse(bytes(cosigned()))
    assert note.verified_by([VAN.verifier_key(), COUNTY.verifier_key()]) == note.signatures
    assert cosigned_at(note.signatures[1]) == AT
    assert note.signed_also(note.signatures) == note


@given(st.integers(0, len(bytes(cosigned())) - 1), st.integers(0, 7))
def test_no_changed_bit_keeps_both_signatures(place: int, bit: int) -> None:
    data = bytearray(bytes(cosigned()))
    data[place] ^= 1 << bit
    keys = [VAN.verifier_key(), COUNTY.verifier_key()]
    try:
        good = Note.parse(bytes(data)).verified_by(keys)
    except NoteRefused:
        return
    assert len(good) < 2


def test_unknown_lines_are_ignored_and_a_bad_known_line_is_not() -> None:
    note = cosigned()
    stranger = sign_text(note.text, SeedSigner("stranger.example", b"s" * 32))
    odd = Signature("sm2.example", b"\xff\xff\xff\xff", b"another algorithm" * 9)
    assert len(note.signed_also([stranger, odd]).verified_by([COUNTY.verifier_key()])) == 1
    forged = Signature(COUNTY.name, COUNTY.verifier_key().key_id, bytes(72))
    with pytest.raises(NoteRefused, match="does not verify"):
        note.signed_also([forged]).verified_by([COUNTY.verifier_key()])
    with pytest.raises(NoteRefused, match="known key"):
        note.verified_by([SeedSigner("other.example", b"o" * 32).verifier_key()])


def test_a_plain_signature_is_no_cosignature() -> None:
    text = cosigned().text
    plain = Signature(COUNTY.name, COUNTY.verifier_key().key_id, COUNTY.sign(text.encode()))
    assert not COUNTY.verifier_key().verifies(text, plain)
    with pytest.raises(ValueError, match="no cosigner key"):
        cosign(text, VAN, AT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text without signature\n",
        "text\n\n",
        "text\n\nno dash\n",
        "text\n\n— name\n",
        "text\n\n— name AAAA\n",
        "text\n\n— na+me AAAAAAAAAAA=\n",
        "text\r\n\n— name AAAAAAAAAAA=\n",
        "text\n\n— name AAAAAAAAAAB=\n",
        "text\n\n— name AAAAAAAAAAA=",
        "text\n\n" + "— name AAAAAAAAAAA=\n" * 65,
    ],
)
def test_malformed_notes_are_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        Note.parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n01\nAAAA\n",
        "a\n-1\nAAAA\n",
        "a\n1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=",
        "a\n1\n" + "A" * 43 + "=\n\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        Checkpoint.parse(text)


def test_extension_lines_are_kept() -> None:
    text = Checkpoint("a", 1, bytes(32), ("more", "still more")).text()
    assert Checkpoint.parse(text).extensions == ("more", "still more")


@pytest.mark.parametrize(
    "text",
    [
        *("", "name", GO_KEY[:-4], GO_KEY.replace("c74f20a3", "c74f20a4"), GO_KEY.replace("+AR", "+BR")),
        *(f" {GO_KEY}", f"{GO_KEY}\n", f"{GO_KEY}\u2003", f"\ud800{GO_KEY}", GO_KEY.upper()),
    ],
)
def test_damaged_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        VerifierKey.parse(text)


def test_blanks_around_a_key_that_somebody_copied_are_passed_over() -> None:
    assert VerifierKey.typed(f" {GO_KEY}\n") == VerifierKey.parse(GO_KEY)
    with pytest.raises(NoteRefused):
        VerifierKey.typed(GO_KEY.replace("+", " +", 1))
