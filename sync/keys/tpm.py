"""Keys sealed to the TPM 2.0 of this PC, by tpm2-tools: what lies on the disk opens on this mainboard only.

A sealed file that is copied to another PC, with the whole disk or alone, is worth nothing there: that is the guard
against a cloned vehicle. The other side of it: when the mainboard dies, the key is gone for good, on purpose without
any printed recovery (a copy on paper would be the clone). The vehicle then gets a new origin; what was delivered stays.

Why tpm2-tools and not systemd-creds: the van changes its key itself, as the user of its service, and the consultation
process reads the new one while running; credentials of systemd are made by root and read once at the start of a unit.

The secret is sealed under the storage root key (ECC P-256, TCG's template for one), made anew from the owner's seed
each time, so that nothing is stored in the TPM and nobody else's handles are touched. It has no password and no
dictionary-attack counter (``noda``): a TPM that somebody locked out by guessing still opens it. The secret passes
through pipes, never through a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sync.formats.notes import NoteRefused, b64, unb64
from sync.record.secret_file import KeyMissing

WITHIN_S = 30
"""One tool; a TPM in a PC takes up to a second for what swtpm does in a few milliseconds."""
_ATTRIBUTES = "fixedtpm|fixedparent|noda"
_ROOT = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
_CODE = re.compile(r"\(0x([0-9A-Fa-f]+)\) - ")
_LOCKOUT = 0x921
_POLICY_FAILED = {0x99D, 0x1D0}
_TOOLS = ("tpm2_createprimary", "tpm2_create", "tpm2_load", "tpm2_unseal", "tpm2_flushcontext")


class TpmUnavailable(KeyMissing):
    """No tools, no TPM, or no right to use it."""

    code = "tpm_unavailable"


class TpmLocked(KeyMissing):
    """The TPM refuses to work until its lockout has passed."""

    code = "tpm_locked"


class KeyOfOtherPc(KeyMissing):
    """The key was sealed by another TPM: a disk cloned or moved into another PC, or a TPM that was cleared."""

    code = "key_of_other_pc"


class BootChanged(KeyMissing):
    """The key was sealed to a state of firmware and boot settings that is not the present one."""

    code = "boot_changed"


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """What lies on the disk. ``pcrs`` as ``Tpm``."""

    public: bytes
    private: bytes
    pcrs: str = ""

    def __str__(self) -> str:
        return f"tpm2 {b64(self.public)} {b64(self.private)}" + (f" {self.pcrs}" if self.pcrs else "")

    @classmethod
    def parse(cls, text: str) -> SealedSecret:
        """:raises ValueError: not what ``str`` writes"""
        kind, *parts = text.split(" ")
        if kind != "tpm2" or len(parts) not in (2, 3):
            raise ValueError("not a secret sealed by a TPM 2.0")
        try:
            return cls(unb64(parts[0]), unb64(parts[1]), parts[2] if len(parts) == 3 else "")
        except NoteRefused as fault:
            raise ValueError(str(fault)) from None


@dataclass(frozen=True, slots=True)
class Tpm:
    """
    :ivar tcti: how to reach it, as tpm2-tools say it ("device:/dev/tpmrm0", "swtpm:path=/run/tpm.sock"); empty: as they
        find it themselves
    :ivar pcrs: PCRs of the SHA-256 bank that must be as they are now, e.g. "7" or "0,7", to open it again. Empty, none:
        an update of the firmware or a changed boot order would leave a van without its key, on the road.
    """

    tcti: str = ""
    pcrs: str = ""

    def seal(self, secret: bytes) -> SealedSecret:
        """:raises TpmUnavailable, TpmLocked: see there"""
        with self._session() as session:
            session.root()
            bound = ["-a", _ATTRIBUTES + ("" if self.pcrs else "|userwithauth")]
            if self.pcrs:
                session.run("tpm2_createpolicy", "-Q", "--policy-pcr", "-l", f"sha256:{self.pcrs}", "-L", "policy")
                bound += ["-L", "policy"]
            session.run(
                "tpm2_create", "-Q", "-C", "root", "-i", "-", "-u", "public", "-r", "private", *bound, given=secret
            )
            return SealedSecret(session.read("public"), session.read("private"), self.pcrs)

    def unseal(self, sealed: SealedSecret) -> bytes:
        """:raises TpmUnavailable, TpmLocked, KeyOfOtherPc, BootChanged: see there"""
        with self._session() as session:
            session.root()
            session.write("public", sealed.public)
            session.write("private", sealed.private)
            session.run("tpm2_load", "-Q", "-C", "root", "-u", "public", "-r", "private", "-c", "key")
            session.flush()
            by = ["-p", f"pcr:sha256:{sealed.pcrs}"] if sealed.pcrs else []
            return session.run("tpm2_unseal", "-Q", "-c", "key", *by)

    def present(self) -> bool:
        """Whether tools and a TPM that answers are there."""
        try:
            with self._session() as session:
                session.run("tpm2_getcap", "properties-fixed")
        except KeyMissing:
            return False
        return True

    def _session(self) -> _Session:
        return _Session(self.tcti)


class _Session:
    """A folder of its own for the tools' files (handles and public parts; no secret) that is removed afterwards."""

    def __init__(self, tcti: str) -> None:
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            raise TpmUnavailable(f"{missing[0]} is not installed: install the package tpm2-tools")
        self._environment = {**os.environ, **({"TPM2TOOLS_TCTI": tcti} if tcti else {})}
        self._folder = tempfile.TemporaryDirectory(prefix="xunzhen-tpm-")

    def __enter__(self) -> _Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(KeyMissing):
            self.flush()
        self._folder.cleanup()

    def root(self) -> None:
        """The storage root key as context file "root"."""
        self.flush()
        self.run("tpm2_createprimary", "-Q", "-C", "o", "-g", "sha256", "-G", "ecc256", "-a", _ROOT, "-c", "root")
        self.flush()

    def flush(self) -> None:
        """Without a resource manager in front of it (swtpm, /dev/tpm0) a TPM keeps three objects and no more."""
        self.run("tpm2_flushcontext", "-t")

    def run(self, *command: str, given: bytes = b"") -> bytes:
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                cwd=self._folder.name,
                env=self._environment,
                timeout=WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TpmUnavailable(f"{command[0]} gave no answer within {WITHIN_S} s: switch the PC off and on") from None
        if done.returncode != 0:
            raise _in_our_words(command[0], done.stderr.decode(errors="replace"))
        return done.stdout

    def read(self, name: str) -> bytes:
        return (Path(self._folder.name) / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (Path(self._folder.name) / name).write_bytes(content)


def _in_our_words(tool: str, said: str) -> KeyMissing:
    """Response codes of the TPM 2.0 library specification, part 2, section 6.6, as the tools print them."""
    codes = {int(code, 16) for code in _CODE.findall(said)}
    if _LOCKOUT in codes:
        return TpmLocked(
            "the PC's TPM is locked out after wrong passwords: leave the PC on for some hours, or lift the lockout with"
            " tpm2_dictionarylockout --clear-lockout"
        )
    if tool == "tpm2_load" and codes:
        return KeyOfOtherPc(
            "this disk's key belongs to another PC (or this PC's TPM was cleared): put the disk back into its own PC;"
            " if that one is gone, give the vehicle a new origin"
        )
    if tool == "tpm2_unseal" and codes & _POLICY_FAILED:
        return BootChanged(
            "the key is sealed to the PC's boot settings, and these have changed: set firmware and boot order back as"
            " they were, or give the vehicle a new origin"
        )
    why = (said.strip().splitlines() or ["no reason given"])[-1 if codes else 0]
    return TpmUnavailable(f"the PC's TPM cannot be used ({tool}: {why[:160]}): check [vehicle] tpm_tcti and group tss")


@dataclass(frozen=True, slots=True)
class KeyProtection:
    """Where a new key is kept; a key that is there already is read in whatever way it was written."""

    kind: Literal["file", "tpm"] = "file"
    tpm: Tpm = Tpm()


IN_A_FILE = KeyProtection()
