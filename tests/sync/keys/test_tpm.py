"""Keys sealed to a TPM 2.0: a real one in software (swtpm), through the real tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync.keys.journal_keys import JournalKeys
from sync.keys.tpm import BootChanged, KeyOfOtherPc, KeyProtection, SealedSecret, Tpm, TpmLocked, TpmUnavailable
from sync.keys.vehicle_key import VehicleKey, is_sealed
from tests.sync.conftest import ORIGIN

NEEDED = ("swtpm", "tpm2_createprimary", "tpm2_pcrextend")
pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in NEEDED), reason="skipped: no swtpm or no tpm2-tools"
)
SEED = b"s" * 32
STARTS_WITHIN_S = 10.0


@contextmanager
def running_tpm(folder: Path) -> Iterator[Tpm]:
    """A TPM of its own; its socket's path must be short."""
    folder.mkdir()
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"]
    command += ["--server", f"type=unixio,path={folder}/s", "--ctrl", f"type=unixio,path={folder}/s.ctrl"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        tpm = Tpm(f"swtpm:path={folder}/s")
        until_s = time.monotonic() + STARTS_WITHIN_S
        while not tpm.present():
            assert process.poll() is None, "swtpm has ended"
            assert time.monotonic() < until_s, "swtpm does not answer"
        yield tpm
    finally:
        process.terminate()
        process.wait(STARTS_WITHIN_S)


@pytest.fixture(scope="module")
def pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    with running_tpm(tmp_path_factory.mktemp("pc") / "t") as tpm:
        yield tpm


@pytest.fixture(scope="module")
def other_pc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tpm]:
    with running_tpm(tmp_path_factory.mktemp("other") / "t") as tpm:
        yield tpm


def tool(tpm: Tpm, folder: Path, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "TPM2TOOLS_TCTI": tpm.tcti}
    return subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, check=False)


def test_a_secret_opens_where_it_was_sealed_and_nowhere_else(pc: Tpm, other_pc: Tpm) -> None:
    sealed = pc.seal(SEED)
    assert [pc.unseal(SealedSecret.parse(str(sealed))) for _ in range(4)] == [SEED] * 4
    assert SEED not in sealed.private + sealed.public
    assert pc.seal(SEED) != sealed
    with pytest.raises(KeyOfOtherPc, match="belongs to another PC"):
        other_pc.unseal(sealed)
    with pytest.raises(KeyOfOtherPc):
        pc.unseal(SealedSecret(sealed.public, sealed.private[:-4] + b"abcd"))


def test_a_locked_out_tpm_still_gives_the_key(tmp_path: Path) -> None:
    """The sealed secret has no password and no counter; what has one makes the TPM refuse, in our words."""
    with running_tpm(tmp_path / "t") as tpm:
        sealed = tpm.seal(SEED)
        tool(tpm, tmp_path, "tpm2_dictionarylockout", "-s", "-n", "2", "-t", "1000", "-l", "1000")
        tool(tpm, tmp_path, "tpm2_createprimary", "-Q", "-C", "o", "-c", "root")
        create = ("tpm2_create", "-Q", "-C", "root", "-p", "right", "-i", "-", "-u", "u", "-r", "r")
        for command in (create, ("tpm2_load", "-Q", "-C", "root", "-u", "u", "-r", "r", "-c", "k")):
            tool(tpm, tmp_path, "tpm2_flushcontext", "-t")
            assert tool(tpm, tmp_path, *command, given=b"x").returncode == 0
        said = b""
        for _ in range(4):
            tool(tpm, tmp_path, "tpm2_flushcontext", "-t")
            said = tool(tpm, tmp_path, "tpm2_unseal", "-c", "k", "-p", "wrong").stderr
        assert b"0x921" in said
        assert tpm.unseal(sealed) == SEED
        with pytest.raises(TpmLocked, match="dictionarylockout"):
            Tpm(tpm.tcti)._session().run("sh", "-c", "echo 'ERROR: Esys_Load(0x921) - tpm' >&2; exit 1")


def test_bound_to_boot_settings_it_opens_as_long_as_they_are_the_same(tmp_path: Path) -> None:
    with running_tpm(tmp_path / "t") as tpm:
        bound = Tpm(tpm.tcti, "7,16")
        sealed = bound.seal(SEED)
        assert tpm.unseal(sealed) == SEED, "the file itself says which PCRs"
        assert tool(tpm, tmp_path, "tpm2_pcrextend", f"16:sha256={'ab' * 32}").returncode == 0
        with pytest.raises(BootChanged, match="firmware"):
            tpm.unseal(sealed)


def test_no_tools_and_no_tpm_are_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pc: Tpm) -> None:
    nowhere = Tpm(f"swtpm:path={tmp_path}/none")
    assert (pc.present(), nowhere.present()) == (True, False)
    with pytest.raises(TpmUnavailable, match="tpm_tcti"):
        nowhere.seal(SEED)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TpmUnavailable, match="install the package tpm2-tools"):
        pc.seal(SEED)


def test_a_new_key_lies_sealed_and_a_cloned_disk_is_worth_nothing(tmp_path: Path, pc: Tpm, other_pc: Tpm) -> None:
    keys = JournalKeys.load_or_create(tmp_path, ORIGIN, lambda n: SEED[:n], KeyProtection("tpm", pc))
    path = tmp_path / "journal.key"
    assert is_sealed(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = JournalKeys.load_or_create(tmp_path, ORIGIN, protection=KeyProtection("file", pc))
    assert again.verifier_key() == keys.verifier_key() == VehicleKey(ORIGIN, SEED).verifier_key()
    with pytest.raises(KeyOfOtherPc):
        JournalKeys.load_or_create(tmp_path, ORIGIN, protection=KeyProtection("tpm", other_pc))
    assert path.read_text().startswith(f"SEALED+KEY {keys.verifier_key()} tpm2 ")


def test_a_key_in_a_file_is_sealed_afterwards(tmp_path: Path, pc: Tpm) -> None:
    keys = JournalKeys.load_or_create(tmp_path, ORIGIN)
    keys.prepare()
    protection = KeyProtection("tpm", pc)
    assert keys.seal(protection) == 2
    assert keys.seal(protection) == 0
    again = JournalKeys.load_or_create(tmp_path, ORIGIN, protection=protection)
    assert [key.verifier_key() for _, key in again.files()] == [key.verifier_key() for _, key in keys.files()]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["journal.key", "journal.key.next"]


def test_a_tpm_that_fails_leaves_the_key_as_it_was(tmp_path: Path) -> None:
    keys = JournalKeys.load_or_create(tmp_path, ORIGIN)
    before = (tmp_path / "journal.key").read_text()
    with pytest.raises(TpmUnavailable):
        keys.seal(KeyProtection("tpm", Tpm(f"swtpm:path={tmp_path}/none")))
    assert (tmp_path / "journal.key").read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal.key"]
