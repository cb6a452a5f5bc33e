"""Writes what a new demo needs: settings files, keys, county accounts, enrolment. Running it again changes nothing
but the settings, which follow the options of the command line."""

from __future__ import annotations

import json
import tomllib
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from devices.clock import SystemClock
from sync.county.app import County, open_county
from sync.county.settings import CountySettings, read_county_settings
from sync.keys.vehicle_key import ED25519_COSIGNATURE, VehicleKey
from sync.witness.settings import read_witness_settings
from telemedicine.exchange.__main__ import exchange_url
from telemedicine.exchange.store import ExchangeStore
from xunzhen.demo.clips import HEIGHT_PX, WIDTH_PX
from xunzhen.demo.home import ADMINISTRATOR, COUNTY_NAME, CREWS, LIVE_VAN, PLATES, SPECIALIST, Home

DEVICES = (
    ("ecg-1", "contec_8000g", "ecg"),
    ("oximeter-1", "contec_cms50_v7", "oximeter"),
    ("card-1", "sam_id_card", "card"),
    ("gnss-1", "nmea_gnss", "gnss"),
    ("urine-1", "gmp_urine", "urine"),
)
ALTITUDE_M = 640
CLINIC = "青峪县白果镇卫生院"
PHONE = "0800-0007007"
"""Nobody's: no area has this code."""
CLIP_BIT_RATE_BIT_S = 1_500_000
BLUETOOTH = (("cuff-1", "bluetooth_blood_pressure"), ("glucose-1", "bluetooth_glucose"))


def prepare(home: Home, chosen: Namespace) -> None:
    """Make the folder ready to start."""
    for folder in (home.run, home.devices, home.clips, home.county_data):
        folder.mkdir(parents=True, exist_ok=True)
    write_toml(home.witness_settings, witness_settings(home))
    write_toml(home.county_settings, county_settings(home))
    settings = read_county_settings(home.county_settings)
    county = open_county(settings, SystemClock())
    try:
        enrol_everybody(home, county)
        introduce_specialist(settings)
        county_key = str(county.verifier_key)
        witnessed = {"registry": str(county.registry.verifier_key), "key": county_key}
    finally:
        county.close()
    write_toml(home.witness_settings, {**witness_settings(home), "county": [witnessed]})
    county_port = chosen.uplink_port or home.ports.county
    for vehicle in CREWS:
        write_toml(home.vehicle_settings(vehicle), vehicle_settings(home, vehicle, county_key, county_port, chosen))
    write_toml(home.consultation_settings, consultation_settings(home, county_port, chosen))


def enrol_everybody(home: Home, county: County) -> None:
    for person in (SPECIALIST, ADMINISTRATOR):
        if county.accounts.get(person.id) is None:
            county.accounts.add(person.id, person.name, person.role, person.secret)
    for vehicle in CREWS:
        key = VehicleKey.load_or_create(key_file(home, vehicle), home.origin(vehicle))
        county.fleet.enrol(home.origin(vehicle), str(key.verifier_key()), vehicle, PLATES[vehicle])
    if not county.registry.villages():
        county.registry.import_villages(json.loads(home.township.read_text(encoding="utf-8")), by=ADMINISTRATOR.id)


def introduce_specialist(settings: CountySettings) -> None:
    store = ExchangeStore(exchange_url(settings))
    store.set_profile(SPECIALIST.id, "主任医师", "青峪县人民医院超声医学科")
    store.close()


def key_file(home: Home, vehicle: str) -> Path:
    return home.vehicle_data(vehicle) / "keys" / "journal.key"


def county_settings(home: Home) -> dict[str, Any]:
    return {
        "name": COUNTY_NAME,
        "data": str(home.county_data),
        "origin": "county.qingyu.example",
        "host": "127.0.0.1",
        "port": home.ports.county,
        "probe_port": home.ports.county,
        "probe_host": "127.0.0.1",
        "witness": {"url": home.witness_url, "key": witness_key(home)},
    }


def witness_settings(home: Home) -> dict[str, Any]:
    return {
        "data": str(home.folder / "witness"),
        "origin": "witness.province.example",
        "host": "127.0.0.1",
        "port": home.ports.witness,
    }


def witness_key(home: Home) -> str:
    settings = read_witness_settings(home.witness_settings)
    key = VehicleKey.load_or_create(settings.key_file, settings.origin, algorithm=ED25519_COSIGNATURE)
    return str(key.verifier_key())


def vehicle_settings(home: Home, vehicle: str, county_key: str, county_port: int, chosen: Namespace) -> dict[str, Any]:
    hasher = PasswordHasher()
    live = vehicle == LIVE_VAN
    known_hashes = _pin_hashes(home.vehicle_settings(vehicle))
    devices: list[dict[str, Any]] = []
    if live:
        devices = [
            {"name": name, "driver": driver, "link": "serial", "port": str(home.devices / port)}
            for name, driver, port in DEVICES
        ]
        if home.ports.analyser:
            waits_at = f"127.0.0.1:{home.ports.analyser}"
            devices.append({"name": "blood-count-1", "driver": "hl7_analyser", "link": "listen", "port": waits_at})
        if not chosen.no_bluetooth:
            devices += [{"name": name, "driver": driver, "link": "bluetooth"} for name, driver in BLUETOOTH]
    return {
        "language": "zh",
        "practice": True,
        "data": str(home.vehicle_data(vehicle)),
        "labelled_ports": str(home.devices),
        "vehicle": {
            "id": vehicle,
            "plate": PLATES[vehicle],
            "origin": home.origin(vehicle),
            "county_name": COUNTY_NAME,
        },
        "county": {"url": f"http://127.0.0.1:{county_port}", "key": county_key},
        "touchscreen": {"port": home.ports.touchscreen, "socket": str(home.vehicle_socket)},
        "patrol": {"villages": str(home.township)},
        "consultation": {"socket": str(home.consultation_socket)},
        "clinic": {"altitude_m": ALTITUDE_M},
        "printer": _printer(home) if live else {"clinic": CLINIC},
        "staff": [
            {
                "id": person.id,
                "name": person.name,
                "role": person.role,
                "pin_hash": known_hashes.get(person.id) or hasher.hash(person.secret),
            }
            for person in CREWS[vehicle]
        ],
        "devices": devices,
    }


def _printer(home: Home) -> dict[str, Any]:
    if not home.ports.printer:
        return {"clinic": CLINIC}
    address = f"127.0.0.1:{home.ports.printer}"
    return {"link": "tcp", "address": address, "answers": "yes", "clinic": CLINIC, "phone": PHONE}


PAINTED_MACHINE = {
    "name": "ultrasound-1",
    "model": "practice",
    "source_size": [WIDTH_PX, HEIGHT_PX],
    "mm_per_pixel": 0.4,
}
"""Of the demo's own clip: its cyst is 46 mm wide."""


def consultation_settings(home: Home, county_port: int, chosen: Namespace) -> dict[str, Any]:
    return {
        "socket": str(home.consultation_socket),
        "vehicle_socket": str(home.vehicle_socket),
        "exchange": {"url": f"ws://127.0.0.1:{county_port}/exchange/van"},
        "identity": {"origin": home.origin(LIVE_VAN), "key": str(key_file(home, LIVE_VAN))},
        "outside": str(home.outside_clip),
        "feeds": [
            _feed("room", chosen.room, home.clips / "room.mp4"),
            _feed("ultrasound", chosen.ultrasound, home.clips / "ultrasound.mp4")
            | ({} if chosen.ultrasound else {"machine": PAINTED_MACHINE}),
        ],
    }


def _feed(name: str, given: str, clip: Path) -> dict[str, Any]:
    """The given source as the settings have it by default; the demo's own clip in its own size."""
    own = {
        "source": str(clip),
        "width": WIDTH_PX,
        "height": HEIGHT_PX,
        "frame_rate_hz": 20,
        "bit_rate_bit_s": CLIP_BIT_RATE_BIT_S,
    }
    return {"name": name, **({"source": _source(given)} if given else own)}


def _source(given: str) -> str:
    """A file given relative to where the command was typed, made absolute; devices and URLs as they are."""
    return str(Path(given).resolve()) if given and Path(given).exists() else given


def _pin_hashes(settings: Path) -> dict[str, str]:
    """Hashes already in the settings file: hashing anew at every start would cost half a second."""
    if not settings.exists():
        return {}
    staff = tomllib.loads(settings.read_text(encoding="utf-8")).get("staff", [])
    return {person["id"]: person["pin_hash"] for person in staff}


def write_toml(file: Path, tables: Mapping[str, Any]) -> None:
    """Scalars first, then tables, then arrays of tables: all the demo's settings need of TOML."""
    lines = [f"{key} = {_toml(plain)}" for key, plain in tables.items() if not _is_table(plain)]
    for key, table in tables.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{key}]", *(f"{name} = {_toml(plain)}" for name, plain in table.items())]
        elif _is_table(table):
            for row in table:
                lines += ["", f"[[{key}]]", *(f"{name} = {_toml(plain)}" for name, plain in row.items())]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _is_table(entry: Any) -> bool:
    return isinstance(entry, Mapping) or (isinstance(entry, Iterable) and not isinstance(entry, str))


def _toml(plain: Any) -> str:
    """Strings, numbers, booleans and lists are written as in JSON; a table within a row inline."""
    if isinstance(plain, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in plain.items()) + " }"
    return json.dumps(plain, ensure_ascii=False)
