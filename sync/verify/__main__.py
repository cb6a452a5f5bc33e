"""``python -m sync.verify BUNDLE --policy POLICY``: is this evidence what it claims to be?

Exit 0: authentic, and every visit's recomputed state is the one claimed. 1: not valid. 2: unreadable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from sync.proof.bundle_file import LARGEST_FILE_BYTES, BundleUnreadable
from sync.proof.evidence import NotProven
from sync.verify.policy import LARGEST_POLICY_BYTES, Policy
from sync.verify.words import LANGUAGES, Words, language_of

VALID, INVALID, UNREADABLE = 0, 1, 2
_SAID = {VALID: "valid", INVALID: "invalid", UNREADABLE: "unreadable"}

USAGE = """\
usage: xunzhen-verify BUNDLE --policy FILE [--pictures PATH] [--json] [--lang zh|en]
       xunzhen-verify --sealed FILE --policy FILE [--json] [--lang zh|en]
       xunzhen-verify --log FOLDER --policy FILE [--registry FOLDER] [--earlier PATH] [--json] [--lang zh|en]

Verify evidence of visits, the sealed months of a report, or a whole log as C2SP tlog-tiles. Needs no network.

  BUNDLE             evidence.zip
  --pictures PATH    files held against the pictures that the evidence names: one file, or a folder of them
  --sealed FILE      sealed-months.json, from an acceptance report
  --log FOLDER       one log: checkpoint, tile/...
  --policy FILE      trusted keys, in the format of C2SP tlog-policy
  --registry FOLDER  the county's registry as such a folder: names the keys of vehicles
  --earlier PATH     checkpoints of the registry that somebody kept: a file with one, or a folder of such files
  --json             print JSON
  --lang zh|en       language of the report; else that of the system

exit status: 0 valid, 1 not valid, 2 unreadable
"""
_WITH_VALUE = ("--log", "--sealed", "--policy", "--pictures", "--registry", "--earlier", "--lang")
_LARGEST_NOTE_BYTES = 64 * 1024
_LARGEST_PICTURE_BYTES = 40_000_000


class Wrong(ValueError):
    """The command line is not as ``USAGE`` says."""


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if "-h" in given or "--help" in given:
        print(USAGE, end="")
        return VALID
    try:
        asked = _asked(given)
    except Wrong as fault:
        print(f"{fault}\n\n{USAGE}", end="", file=sys.stderr)
        return UNREADABLE
    t = Words(asked.get("--lang") or language_of(os.environ))
    try:
        policy = Policy.parse(_content(asked["--policy"], LARGEST_POLICY_BYTES, "policy_unreadable"))
        check = next((of for name, of in _CHECKS.items() if name in asked), _bundle)
        return check(asked, policy, t)
    except (BundleUnreadable, NotProven) as fault:
        from sync.verify.report import fault_json, fault_text

        status = UNREADABLE if isinstance(fault, BundleUnreadable) else INVALID
        said = _SAID[status]
        _tell(asked, fault_json(said, fault.code, str(fault)), fault_text(said, fault.code, str(fault), t))
        return status


def _asked(given: list[str]) -> dict[str, str]:
    """Options by name, the bundle as "bundle". By hand: argparse takes longer than a bundle's signatures.

    :raises Wrong: see there
    """
    asked: dict[str, str] = {}
    waiting = list(given)
    while waiting:
        word = waiting.pop(0)
        name, sign, value = word.partition("=")
        if name in _WITH_VALUE:
            if not sign and not waiting:
                raise Wrong(f"{name} needs a value")
            asked[name] = value if sign else waiting.pop(0)
        elif word == "--json":
            asked[word] = "yes"
        elif word.startswith("-") or "bundle" in asked:
            raise Wrong(f"{word!r} is one too many")
        else:
            asked["bundle"] = word
    if sum(name in asked for name in ("bundle", "--log", "--sealed")) != 1:
        raise Wrong("name either a bundle, sealed months or a log")
    if "--policy" not in asked:
        raise Wrong("--policy is missing: without trusted keys nothing can be verified")
    if asked.get("--lang", "en") not in LANGUAGES:
        raise Wrong("--lang is zh or en")
    return asked


def _bundle(asked: dict[str, str], policy: Policy, t: Words) -> int:
    from sync.verify.bundle_check import check_bundle
    from sync.verify.report import bundle_json, bundle_text, held_against

    report = check_bundle(_content(asked["bundle"], LARGEST_FILE_BYTES, "bundle_unreadable"), policy)
    given = held_against(report, _hashes(asked["--pictures"])) if "--pictures" in asked else []
    said = bundle_json(report, given)
    _tell(asked, said, bundle_text(report, t, given))
    return INVALID if said["faults"] else VALID


def _log(asked: dict[str, str], policy: Policy, t: Words) -> int:
    from sync.verify.log_audit import audit_log, keys_from
    from sync.verify.report import log_json, log_text

    found = None
    earlier = _notes(asked["--earlier"]) if "--earlier" in asked else []
    if "--registry" in asked:
        registry = audit_log(_folder(asked["--registry"]), policy, keys_from(policy), earlier)
        earlier = []
        found = registry.registry
        if registry.faults or found is None:
            _tell(asked, log_json(registry), log_text(registry, t))
            return INVALID
    report = audit_log(_folder(asked["--log"]), policy, keys_from(policy, found), earlier)
    _tell(asked, log_json(report), log_text(report, t))
    return INVALID if report.faults else VALID


def _sealed(asked: dict[str, str], policy: Policy, t: Words) -> int:
    from sync.proof.sealed_file import LARGEST_BYTES
    from sync.verify.sealed_check import check_sealed, sealed_json, sealed_text

    report = check_sealed(_content(asked["--sealed"], LARGEST_BYTES, "bundle_unreadable"), policy)
    _tell(asked, sealed_json(report), sealed_text(report, t))
    return VALID


_CHECKS = {"--log": _log, "--sealed": _sealed}


def _files(path: str) -> list[str]:
    """The file, or all files of the folder."""
    return sorted(os.path.join(path, name) for name in os.listdir(path)) if os.path.isdir(path) else [path]


def _notes(path: str) -> list[bytes]:
    return [_content(one, _LARGEST_NOTE_BYTES, "note_unreadable") for one in _files(path)]


def _hashes(path: str) -> list[tuple[str, str]]:
    """Name and SHA-256 of each file."""
    from hashlib import sha256

    files = _files(path)
    read = (_content(one, _LARGEST_PICTURE_BYTES, "picture_unreadable") for one in files)
    return [(os.path.basename(one), sha256(body).hexdigest()) for one, body in zip(files, read, strict=True)]


def _folder(folder: str) -> Callable[[str], bytes | None]:
    if not os.path.isdir(folder):
        raise BundleUnreadable("bundle_unreadable", f"there is no folder {folder}")

    def read(path: str) -> bytes | None:
        try:
            with open(os.path.join(folder, path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            raise BundleUnreadable("bundle_unreadable", f"{path}: {fault.strerror}") from None

    return read


def _content(path: str, largest: int, code: str) -> bytes:
    """The file's bytes, at most one more than ``largest``."""
    try:
        with open(path, "rb") as file:
            return file.read(largest + 1)
    except (OSError, ValueError) as fault:
        raise BundleUnreadable(code, f"{path}: {getattr(fault, 'strerror', None) or fault}") from None


def _tell(asked: dict[str, str], said: dict[str, object], lines: Iterable[str]) -> None:
    if "--json" in asked:
        import json

        print(json.dumps(said, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
