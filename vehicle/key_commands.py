"""What a technician does with the vehicle's keys, on the command line: ``python -m vehicle --settings FILE COMMAND``.

- ``show-key``: the line and the fingerprint for the county.
- ``rotate-key``: another key from the next start of the vehicle process on.
- ``seal-key``: the keys that lie in files are sealed to this PC's TPM.
- ``new-origin``: the key is lost or revoked: the vehicle goes on with a new journal under a new name.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from devices.errors import AskPerson
from sync.keys.journal_keys import KEY_FILE, JournalKeys
from sync.keys.tpm import KeyProtection
from sync.keys.vehicle_key import fingerprint
from sync.record.database import FolderLock
from sync.record.secret_file import sync_folder
from sync.settings_file import SettingsRefused
from vehicle.settings import VehicleSettings, read_vehicle_settings

COMMANDS = ("show-key", "rotate-key", "seal-key", "new-origin")
BEFORE = "before"
"""Folder of the journals that ended, below ``data``; each with its recordings and keys, under its origin."""

SEALING = """\
The keys of {origin} will be sealed to the TPM of this PC. From then on:
- the disk, copied or put into another PC, cannot speak for this vehicle;
- if the mainboard dies or its TPM is cleared, the key is gone. There is no recovery copy, on purpose. The vehicle then
  goes on under a new origin; what was delivered stays valid, what was not lies on the disk but cannot be signed.
Run again with --yes to seal."""
PARTING = """\
{old} ends and the vehicle goes on as {new}. Journal, recordings and keys are put aside, not deleted: what the county
has stays valid, {waiting} entries that it has not are on this disk only. The people on board are registered anew.
Run again with --yes to go on under the new origin."""


class NewOriginRefused(AskPerson):
    """The vehicle cannot get a new origin now; the message says what to do."""

    code = "new_origin_refused"


def run(command: str, path: Path, yes: bool = False, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Do ``command``; returns what to tell.

    :param path: of the settings file
    :raises AskPerson: it cannot be done; nothing has changed, or the same command goes on where it was cut off
    """
    settings = read_vehicle_settings(path)
    match command:
        case "rotate-key":
            return rotate_key(settings, random_bytes)
        case "seal-key":
            return seal_key(settings, yes)
        case "new-origin":
            return new_origin(path, settings, yes)
        case _:
            return show_key(settings)


def show_key(settings: VehicleSettings) -> str:
    """What enrolment needs: the verifier key for the county's command line, the fingerprint for people to compare."""
    keys = _keys(settings)
    lines = [str(keys.verifier_key()), f"fingerprint {fingerprint(keys.verifier_key())}"]
    if keys.sealed:
        return "\n".join([*lines, "sealed to the TPM of this PC"])
    has_tpm = settings.vehicle.protection.tpm.present()
    return "\n".join([*lines, "kept in a file" + ("; this PC has a TPM: seal-key moves it there" if has_tpm else "")])


def rotate_key(settings: VehicleSettings, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """:raises KeyChangeRefused: the last change has not reached the county"""
    keys = _keys(settings)
    keys.prepare(random_bytes, settings.vehicle.protection)
    new = keys.files()[-1][1].verifier_key()
    return (
        f"new key, fingerprint {fingerprint(new)}\n"
        "It takes over when the vehicle process starts next (systemctl restart vehicle) and tells the county by itself."
    )


def seal_key(settings: VehicleSettings, yes: bool) -> str:
    """:raises KeyMissing: the TPM does not seal (``sync.keys.tpm``); the keys stay in their files"""
    keys = _keys(settings)
    if not keys.open_files():
        return "every key is sealed already"
    if not yes:
        return SEALING.format(origin=keys.name)
    sealed = keys.seal(KeyProtection("tpm", settings.vehicle.protection.tpm))
    return (
        f'{sealed} sealed. Set key_protection = "tpm" in the settings, so that a new key is made sealed, and change the'
        " key once (rotate-key): the old one has lain on this disk in the open."
    )


# a new origin ---------------------------------------------------------------------------------------------------------


def new_origin(path: Path, settings: VehicleSettings, yes: bool) -> str:
    """Name the journal anew in the settings, then put the old journal, its recordings and its keys aside.

    In this order, so that a cut in between leaves a vehicle that refuses to start rather than one that begins a second
    journal under the old name; the same command again goes on.

    :raises NewOriginRefused: the vehicle runs, or the settings cannot be changed
    :raises JournalInUse: the vehicle runs
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(settings.data)
    try:
        origin, old = settings.vehicle.origin, _origin_of(settings.data) or _put_aside_before(settings)
        if old is None or old == origin:
            old, origin = origin, next_origin(origin)
            if not yes:
                return PARTING.format(old=old, new=origin, waiting=_waiting(settings.data))
            _rename_in(path, old, origin)
        elif settings.vehicle.succeeds != old:
            raise NewOriginRefused(f"{settings.data} holds the journal of {old}, which is not the one before {origin}")
        _put_aside(settings.data, old)
    finally:
        lock.release()
    return (
        f"{origin} goes on from {old}, whose journal, recordings and keys lie in {settings.data / BEFORE / old}.\n"
        f'Set origin = "{origin}" in [identity] of consultation.toml too, start the vehicle, and enrol it: Status,'
        " enrolment code."
    )


def next_origin(origin: str) -> str:
    """van-07.qingxi.example -> van-07-2.qingxi.example -> van-07-3.qingxi.example"""
    name, dot, rest = origin.partition(".")
    numbered = re.fullmatch(r"(.+)-([2-9]|[1-9][0-9])", name)
    successor = f"{numbered[1]}-{int(numbered[2]) + 1}" if numbered else f"{name}-2"
    return f"{successor}{dot}{rest}"


def _put_aside_before(settings: VehicleSettings) -> str | None:
    """The journal that was put aside when the power went off; None when a new one has begun, or there is none."""
    before, begun = settings.vehicle.succeeds, settings.data / "keys" / KEY_FILE
    return (
        before if before and (settings.data / BEFORE / before / "journal.db").exists() and not begun.exists() else None
    )


def _origin_of(data: Path) -> str | None:
    """Whose journal lies there; None when there is none that can be read."""
    return _ask(data, "SELECT value FROM meta WHERE key = 'origin'")


def _waiting(data: Path) -> str:
    """How many entries no receipt covers."""
    counted = "SELECT count(*) FROM entries WHERE n >= (SELECT coalesce(max(size), 0) FROM receipts)"
    return _ask(data, counted) or "0"


def _ask(data: Path, query: str) -> str | None:
    if not (data / "journal.db").exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{data / 'journal.db'}?mode=ro", uri=True)) as database:
            found = database.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return str(found[0]) if found else None


def _rename_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    without = re.sub(r"(?m)^[ \t]*succeeds[ \t]*=.*\n", "", text)
    line = re.compile(rf'(?m)^([ \t]*)origin[ \t]*=[ \t]*["\']{re.escape(old)}["\']')
    changed, count = line.subn(rf'\1origin = "{new}"\n\1succeeds = "{old}"', without)
    by_hand = f'write origin = "{new}" and succeeds = "{old}" into [vehicle] of {path}, then run new-origin again'
    if count != 1:
        raise NewOriginRefused(f"the line with the origin was not found: {by_hand}")
    written = path.with_name(f".{path.name}.new")
    try:
        written.write_text(changed, encoding="utf-8")
        shutil.copymode(path, written)
        there = path.stat()
        os.chown(written, there.st_uid, there.st_gid)
        _check_settings(written, new, old)
        os.replace(written, path)
        sync_folder(path.parent)
    except OSError as fault:
        raise NewOriginRefused(f"the settings cannot be changed ({fault.strerror}): {by_hand}") from fault
    finally:
        written.unlink(missing_ok=True)


def _check_settings(path: Path, origin: str, succeeds: str) -> None:
    try:
        identity = read_vehicle_settings(path).vehicle
    except SettingsRefused as fault:
        raise NewOriginRefused(f"the settings do not fit a new origin: {fault}") from fault
    if (identity.origin, identity.succeeds) != (origin, succeeds):
        raise NewOriginRefused(f"{path}: the origin does not stand in [vehicle]; change it by hand")


def _put_aside(data: Path, origin: str) -> None:
    folder = data / BEFORE / origin
    (folder / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
    moved = [*data.glob("journal.db*"), *data.glob("recordings"), *data.glob(f"keys/{KEY_FILE}*")]
    for path in sorted(moved, key=lambda found: found.name == "journal.db"):  # last: its name is what a rerun looks for
        os.replace(path, folder / path.relative_to(data))
    for changed in (folder / "keys", folder, data / BEFORE, data / "keys", data):
        if changed.is_dir():
            sync_folder(changed)


def _keys(settings: VehicleSettings) -> JournalKeys:
    identity = settings.vehicle
    return JournalKeys.load_or_create(settings.data / "keys", identity.origin, protection=identity.protection)
