"""``python -m sync.county --settings county.toml <command>``: accounts, vehicles, villages, rules, waivers, rebuild."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from devices.errors import AskPerson, Retry
from sync.county.accounts import ROLES
from sync.county.app import County, open_county
from sync.county.freezing import unfreeze
from sync.county.policy import policy_text
from sync.county.serving import serve_workers
from sync.county.settings import read_county_settings
from sync.county.stick_import import StickImport, clear
from sync.county.village_shift import standing_places
from sync.keys.vehicle_key import VehicleKey, fingerprint
from sync.screening.replay import summary
from sync.screening.rule_file import RuleFileRefused, read

BY = "command-line"


class ReplayDiffers(AskPerson):
    """A stored screening result is not what its rule version answers, or that version is not here."""

    code = "replay_differs"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 1 when refused with the reason on stderr."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "serve":
            return serve_workers(chosen.settings, chosen.workers, chosen.port)
        county = open_county(read_county_settings(chosen.settings))
    except AskPerson as refusal:
        print(refusal, file=sys.stderr)
        return 1
    try:
        print(_do(county, chosen))
    except (AskPerson, Retry, OSError, RuleFileRefused, json.JSONDecodeError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    finally:
        county.close()
    return 0


def _do(county: County, chosen: argparse.Namespace) -> str:
    match chosen.command:
        case "add-account":
            account = county.accounts.add(chosen.id, chosen.name, chosen.role, _password(chosen))
            said = f"account {account.id} ({account.role})"
        case "set-password":
            county.accounts.set_password(chosen.id, _password(chosen))
            said = f"new password for {chosen.id}; its sessions are over"
        case "disable-account":
            county.accounts.disable(chosen.id)
            said = f"account {chosen.id} is disabled"
        case "enrol":
            vehicle = county.fleet.enrol(chosen.origin, chosen.vkey, chosen.vehicle, chosen.plate, chosen.succeeds)
            key = county.fleet.verifier(vehicle.origin)
            said = f"{vehicle.origin} is enrolled; compare with the vehicle: {fingerprint(key) if key else ''}"
        case "revoke":
            revoked = county.fleet.revoke(chosen.origin, chosen.reason, chosen.size).revoked
            said = f"the key of {chosen.origin} is revoked above {revoked.size if revoked else 0} entries"
        case "unfreeze":
            unfreeze(county.database, chosen.origin, chosen.reason)
            said = f"{chosen.origin}: {chosen.reason.strip()}"
        case "import-villages":
            geojson = json.loads(chosen.file.read_text(encoding="utf-8"))
            if chosen.preview:
                return _preview(county, geojson, chosen.valid_from)
            stood = standing_places(county.database, county.visits)
            villages = county.registry.import_villages(geojson, BY, chosen.valid_from, stood, chosen.accept_shift)
            said = f"{len(villages)} villages" + f"; shift accepted: {chosen.accept_shift}" * bool(chosen.accept_shift)
        case "set-rules":
            rules = county.registry.set_rules(json.loads(chosen.rules), BY)
            said = f"rules version {rules.version}"
        case "waive":
            waiver = county.registry.waive(chosen.village, chosen.month, chosen.reason, BY)
            said = f"{waiver.village} is excused for {waiver.month:%Y-%m}"
        case "import-stick":
            said = _import_stick(county, chosen)
        case "rebuild":
            said = f"{county.interpreter.rebuild()} entries read again"
        case "replay-screening":
            said, same = summary(county.screening_rules.replay())
            if not same:
                raise ReplayDiffers(said)
        case "publish-screening-rules":
            raw, _ = read(chosen.file.read_text(encoding="utf-8"))
            edition = county.screening_rules.publish(raw, chosen.name, chosen.reason, BY)
            said = f"screening rules, edition {edition.number}: {', '.join(edition.rules)}"
        case "seal":
            county.interpreter.catch_up_all()
            sealed = county.sealing.seal_due()
            said = "; ".join(f"{month:%Y-%m}: {count} townships" for month, count in sealed.items()) or "nothing is due"
        case "prune":
            return _prune(county, chosen)
        case "policy":
            return policy_text(county.registry.verifier_key, county.verifier_key, county.witnessing.key)
        case _:
            vehicles, registry = county.verifier_key, county.registry.verifier_key
            said = f"{vehicles}  # the county: into the vehicles' settings\n{registry}  # its registry"
            return f"{said}\n{county.sm2_key}  # its SM2 key" if county.sm2_key else said
    county.audit.note(BY, chosen.command.replace("-", "_"), said)
    return said


def _import_stick(county: County, chosen: argparse.Namespace) -> str:
    imported = StickImport(county, VehicleKey.load(county.settings.key_file)).run(chosen.folder)
    if chosen.clear:
        clear(chosen.folder, imported)
    return "\n".join(map(str, imported)) + ("\nthe stick is cleared" if chosen.clear else "")


def _prune(county: County, chosen: argparse.Namespace) -> str:
    plan = county.retention.plan(chosen.before)
    told = [str(one) for one in plan]
    if chosen.dry_run:
        return "\n".join([*told, "nothing was removed"])
    for one in plan:
        county.audit.note(BY, "prune", str(one), "refused" if one.problem else "done")
    pruned = county.retention.prune(plan)
    return "\n".join([*told, f"removed the bodies of {pruned.entries} entries and {pruned.recordings} recordings"])


def _preview(county: County, geojson: Any, valid_from: date | None) -> str:
    plan = county.registry.plan_import(geojson, valid_from)
    shifted = county.registry.find_shift(geojson, standing_places(county.database, county.visits))
    lines = [f"first list: {len(plan.added)} villages, for all time"] if plan.first else [f"from {plan.valid_from} on:"]
    if not plan.first:
        for what in ("added", "changed", "removed"):
            codes: tuple[str, ...] = getattr(plan, what)
            lines.append(f"{what} {len(codes)}" + "".join(f"\n  {code}" for code in codes))
    return "\n".join([*lines, *([str(shifted)] if shifted is not None else [])])


def _password(chosen: argparse.Namespace) -> str:
    if chosen.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass("password: ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sync.county", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="county.toml")
    commands = parser.add_subparsers(dest="command", required=True)

    add = commands.add_parser("add-account", help="a person who may sign in")
    add.add_argument("id")
    add.add_argument("name")
    add.add_argument("role", choices=ROLES)
    new_password = commands.add_parser("set-password", help="a new password; lifts a lock, ends all sessions")
    new_password.add_argument("id")
    for asks in (add, new_password):
        asks.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    commands.add_parser("disable-account", help="the person has left").add_argument("id")

    enrol = commands.add_parser("enrol", help="trust a vehicle's key")
    enrol.add_argument("origin")
    enrol.add_argument("vkey", help="the line that the vehicle shows: name+id+key")
    enrol.add_argument("--vehicle", default="", help="short id, else the first part of the origin")
    enrol.add_argument("--plate", default="")
    enrol.add_argument("--succeeds", metavar="ORIGIN", help="the journal that it goes on from, whose key is lost")
    revoke = commands.add_parser("revoke", help="take nothing more from a vehicle's key; what came before stays valid")
    revoke.add_argument("origin")
    revoke.add_argument("reason", help="stands in the registry for good")
    revoke.add_argument("--size", type=int, help="entries that stay valid; else all that are under receipt")
    thaw = commands.add_parser("unfreeze", help="take a log again that was frozen because it did not extend itself")
    thaw.add_argument("origin")
    thaw.add_argument("--reason", required=True, help="why it may go on, for the audit")

    villages = commands.add_parser("import-villages", help="the list of villages of today, as GeoJSON in WGS-84")
    villages.add_argument("file", type=Path)
    villages.add_argument("--preview", action="store_true", help="only say what would change")
    villages.add_argument("--valid-from", type=date.fromisoformat, help="YYYY-MM-DD: changes hold from it on")
    villages.add_argument("--accept-shift", default="", metavar="REASON", help="why a list that seems shifted is right")
    commands.add_parser("set-rules", help="a new version of the rules").add_argument("rules", help="JSON object")
    waive = commands.add_parser("waive", help="excuse a village for a month")
    for name in ("village", "month", "reason"):
        waive.add_argument(name)
    stick = commands.add_parser("import-stick", help="take in what vehicles have exported to a USB stick")
    stick.add_argument("folder", type=Path, help="where the stick is mounted")
    stick.add_argument("--clear", action="store_true", help="then remove the patient data from it; receipts stay")
    serve = commands.add_parser("serve", help="the county's routes in several processes; the exchange runs apart")
    serve.add_argument("--workers", type=int, choices=range(1, 65), default=4, metavar="N")
    serve.add_argument("--port", type=int, help="instead of the settings'")
    commands.add_parser("seal", help="write the verdicts of past months into the registry now")
    prune = commands.add_parser("prune", help="remove what vehicles have removed after retention")
    prune.add_argument(
        "--before", type=date.fromisoformat, required=True, help="YYYY-MM-DD: nothing younger is removed"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    commands.add_parser("replay-screening", help="ask every screening result again under the rule version it names")
    rules = commands.add_parser("publish-screening-rules", help="sign an edited rule file into the registry")
    rules.add_argument("file", type=Path)
    rules.add_argument("--name", required=True, help="the clinician who answers for it")
    rules.add_argument("--reason", required=True)
    commands.add_parser("rebuild", help="read all stored entries into the tables again")
    commands.add_parser("show-key", help="the county's cosigner key, for the vehicles' settings; its registry's key")
    commands.add_parser("policy", help="the policy file by which anybody verifies the county's evidence")
    return parser


if __name__ == "__main__":
    sys.exit(main())
