"""``python -m sync.verify BUNDLE --policy POLICY``: is this evidence what it claims to be?

Exit 0: authentic, and every visit's recomputed state is the one claimed. 1: not valid. 2: unreadable.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sync.bundle_file import LARGEST_FILE_BYTES, BundleUnreadable
from sync.evidence import NotProven
from sync.verify.policy import LARGEST_POLICY_BYTES, Policy
from sync.verify.words import LANGUAGES, Words, language_of

VALID, INVALID, UNREADABLE = 0, 1, 2
_SAID = {VALID: "valid", INVALID: "invalid", UNREADABLE: "unreadable"}


def main(arguments: list[str] | None = None) -> int:
    asked = _arguments(arguments)
    t = Words(asked.lang or language_of(os.environ))
    try:
        policy = Policy.parse(_content(Path(asked.policy), LARGEST_POLICY_BYTES, "policy_unreadable"))
        if asked.log:
            return _log(asked, policy, t)
        return _bundle(asked, policy, t)
    except (BundleUnreadable, NotProven) as fault:
        from sync.verify.report import fault_json, fault_text

        status = UNREADABLE if isinstance(fault, BundleUnreadable) else INVALID
        said = _SAID[status]
        _tell(asked, fault_json(said, fault.code, str(fault)), fault_text(said, fault.code, str(fault), t))
        return status


def _arguments(arguments: list[str] | None) -> Namespace:
    parser = ArgumentParser(
        prog="xunzhen-verify",
        description="Verify evidence of visits (a bundle), or a whole log as C2SP tlog-tiles. Needs no network.",
        epilog="exit status: 0 valid, 1 not valid, 2 unreadable",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", nargs="?", help="evidence.zip")
    what.add_argument("--log", metavar="FOLDER", help="folder of one log: checkpoint, tile/...")
    parser.add_argument(
        "--policy", required=True, metavar="FILE", help="trusted keys, in the format of C2SP tlog-policy"
    )
    parser.add_argument(
        "--registry", metavar="FOLDER", help="with --log: the county's registry as tlog-tiles, for vehicles' keys"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--lang", choices=LANGUAGES, help="language of the report; else that of the system")
    return parser.parse_args(arguments)


def _bundle(asked: Namespace, policy: Policy, t: Words) -> int:
    from sync.verify.bundle_check import check_bundle
    from sync.verify.report import bundle_json, bundle_text

    report = check_bundle(_content(Path(asked.bundle), LARGEST_FILE_BYTES, "bundle_unreadable"), policy)
    _tell(asked, bundle_json(report), bundle_text(report, t))
    return INVALID if report.wrong else VALID


def _log(asked: Namespace, policy: Policy, t: Words) -> int:
    from sync.verify.log_audit import audit_log, keys_from
    from sync.verify.report import log_json, log_text

    registry = audit_log(_folder(asked.registry), policy, keys_from(policy)) if asked.registry else None
    if registry is not None and (registry.faults or registry.registry is None):
        _tell(asked, log_json(registry), log_text(registry, t))
        return INVALID
    found = registry.registry if registry is not None else None
    report = audit_log(_folder(asked.log), policy, keys_from(policy, found))
    _tell(asked, log_json(report), log_text(report, t))
    return INVALID if report.faults else VALID


def _folder(name: str) -> Any:
    folder = Path(name)
    if not folder.is_dir():
        raise BundleUnreadable("bundle_unreadable", f"there is no folder {name}")

    def read(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            raise BundleUnreadable("bundle_unreadable", f"{path}: {fault.strerror}") from None

    return read


def _content(path: Path, largest: int, code: str) -> bytes:
    """The file's bytes, at most one more than ``largest``."""
    try:
        with path.open("rb") as file:
            return file.read(largest + 1)
    except OSError as fault:
        raise BundleUnreadable(code, f"{path}: {fault.strerror}") from None


def _tell(asked: Namespace, said: dict[str, Any], lines: Iterable[str]) -> None:
    if asked.json:
        import json

        print(json.dumps(said, ensure_ascii=False, indent=2, sort_keys=True))
    else:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
        print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
