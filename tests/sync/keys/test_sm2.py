"""The county's extra signature by SM2 with SM3: checked by OpenSSL itself, and in nobody's way."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from county_month import QUICK, Van, at

from devices.clock import SimulatedClock
from sync.county.app import create_county
from sync.county.settings import CountySettings, Sm2Settings, read_county_settings
from sync.county.sm2 import IDENTIFIER, USER_ID, Sm2Signer, Sm2Unavailable
from sync.formats.notes import Note, NoteRefused, Signature, VerifierKey, key_id, unb64
from sync.formats.records import Draft
from tests.sync.county_month import Founded

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="skipped: no openssl")


def openssl(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(("openssl", *arguments), input=given, capture_output=True, check=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "sm2.pem"
    made = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", str(path))
    assert made.returncode == 0, made.stderr
    return path


def verified_by_openssl(folder: Path, spki: bytes, text: str, signature: bytes) -> bool:
    (folder / "spki").write_bytes(spki)
    (folder / "text").write_text(text, encoding="utf-8")
    (folder / "signature").write_bytes(signature)
    key = ("-pubin", "-keyform", "DER", "-inkey", str(folder / "spki"), "-pkeyopt", f"distid:{USER_ID}")
    what = ("-in", str(folder / "text"), "-sigfile", str(folder / "signature"))
    return openssl("pkeyutl", "-verify", "-rawin", "-digest", "sm3", *key, *what).returncode == 0


def test_the_line_is_a_signature_over_the_notes_text(tmp_path: Path, key_file: Path) -> None:
    signer = Sm2Signer("county.qingyu.example", key_file)
    text = "van-07.qingyu.example\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = Signature.parse(signer.sign(text).line())
    assert (line.name, line.key_id) == (signer.key.name, signer.key.key_id)
    assert verified_by_openssl(tmp_path, signer.key.spki, text, line.signature)
    assert not verified_by_openssl(tmp_path, signer.key.spki, text.replace("7\n", "8\n"), line.signature)


def test_the_verifier_key_says_its_type_as_c2sp_asks(key_file: Path) -> None:
    key = Sm2Signer("county.qingyu.example", key_file).key
    name, identifier, encoded = str(key).split("+", 2)
    material = unb64(encoded)
    assert (name, material[0], material[1 : 1 + len(IDENTIFIER)]) == ("county.qingyu.example", 0xFF, IDENTIFIER)
    assert bytes.fromhex(identifier) == key.key_id == key_id(name, 0xFF, material[1:])
    with pytest.raises(NoteRefused):
        VerifierKey.parse(str(key))


@dataclass
class FoundedWithSm2(Founded):
    def open(self):
        settings = CountySettings(
            name="青峪县",
            data=self.folder / "county",
            origin="county.qingyu.example",
            sm2=Sm2Settings(key_file=self.folder / "sm2.pem"),
        )
        return create_county(settings, self.clock, hasher=QUICK)


@pytest.fixture
async def founded(tmp_path: Path, key_file: Path) -> AsyncIterator[FoundedWithSm2]:
    county = FoundedWithSm2(tmp_path, SimulatedClock(at(9, 1, 8)))
    yield county
    county.close()


def work(van: Van) -> None:
    van.store.commit_now(*(Draft("clock/1", {"seconds_ms": n, "source": "gnss"}) for n in range(5)))


async def test_receipts_and_notes_verify_as_before(founded: FoundedWithSm2, tmp_path: Path) -> None:
    van = founded.van("van-07")
    work(van)
    assert (await van.deliver()).complete
    county = founded.county
    extra = county.sm2_key
    assert extra is not None
    origins = van.store.origin, county.registry.origin
    for origin, owner in zip(origins, (van.signer.verifier_key(), county.registry.verifier_key), strict=True):
        note = Note.parse(county.mirror.checkpoint(origin) or b"")
        assert len(note.verified_by([owner, county.verifier_key])) == 2
        (line,) = (signature for signature in note.signatures if signature.key_id == extra.key_id)
        assert verified_by_openssl(tmp_path, extra.spki, note.text, line.signature)
    (receipt,) = van.store.read("SELECT note FROM receipts")
    kept = Note.parse(receipt["note"])
    assert len(kept.signatures) == 2, "the van keeps what it knows"
    van.restart()
    assert [entry["kind"] for entry in van.store.read("SELECT kind FROM entries ORDER BY n DESC LIMIT 2")] == [
        "anchor/1",
        "boot/1",
    ]


async def test_a_key_that_is_gone_delays_no_receipt(founded: FoundedWithSm2) -> None:
    (founded.folder / "sm2.pem").unlink()
    van = founded.van("van-07")
    work(van)
    assert (await van.deliver()).complete
    assert len(Note.parse(founded.county.mirror.checkpoint(van.store.origin) or b"").signatures) == 2


def test_what_is_no_sm2_key_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Sm2Unavailable, match="openssl pkey failed"):
        Sm2Signer("county.qingyu.example", tmp_path / "none.pem")
    other = tmp_path / "p256.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(other))
    with pytest.raises(Sm2Unavailable, match="not an SM2 key"):
        Sm2Signer("county.qingyu.example", other)


def test_the_settings_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "county.toml"
    path.write_text('name = "青峪县"\ndata = "d"\norigin = "county.example"\n[sm2]\nkey_file = "keys/sm2.pem"\n')
    sm2 = read_county_settings(path).sm2
    assert sm2 is not None
    assert sm2.key_file == tmp_path / "keys" / "sm2.pem"
