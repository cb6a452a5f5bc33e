"""GNSS: public vectors, logs of real receivers beside gpsd, and all the ways of having no fix."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from device_captures import SHARED, needs_shared, vectors

from devices.capture import settled
from devices.drivers import nmea_gnss
from devices.readings import (
    Event,
    Position,
)
from devices.simulators.gnss import fix_sentences, no_fix_sentences, sentence


def positions(events: list[Event]) -> list[Position]:
    return [event for event in events if isinstance(event, Position)]


def gnss(stream: bytes) -> tuple[nmea_gnss.Driver, list[Event]]:
    driver = nmea_gnss.Driver()
    driver.open()
    return driver, driver.feed(stream).events + settled(driver)


@needs_shared
def test_gnss_vectors() -> None:
    by_id = {param.id: param.values[0] for param in vectors("GNSS receiver")}
    for number in ("114", "119"):
        _, events = gnss(bytes.fromhex(by_id[number]["hex"]) + (b"" if number == "114" else b"\r\n"))
        (position,) = positions(events)
        assert position.latitude_deg == pytest.approx(by_id[number]["expected"]["lat"], abs=1e-7)
    driver, events = gnss(bytes.fromhex(by_id["116"]["hex"]) + bytes.fromhex(by_id["117"]["hex"]))
    assert not positions(events)
    assert driver.counters.frames == 2


@needs_shared
@pytest.mark.parametrize("name", ["ait250", "bn-9015", "bt451", "com-1289", "garmin25lp", "gps-360", "haicom-305N"])
def test_gnss_agrees_with_gpsd_on_real_receivers(name: str) -> None:
    """Every fix of ours is one that gpsd reports of the same log, and there are fixes."""
    folder = SHARED / "data" / "gnss"
    reports = (folder / f"{name}.log.chk").read_text(encoding="latin-1").splitlines()
    said = [json.loads(line) for line in reports if line.startswith("{") and "TPV" in line]
    known = {(round(tpv["lat"], 5), round(tpv["lon"], 5)) for tpv in said if "lat" in tpv}
    _, events = gnss((folder / f"{name}.log").read_bytes())
    ours = [fix for fix in positions(events) if fix.latitude_deg is not None and fix.longitude_deg is not None]
    assert len(ours) >= 5
    strangers = [
        fix
        for fix in ours
        if not any(
            abs(fix.latitude_deg - latitude) < 3e-5 and abs(fix.longitude_deg - longitude) < 3e-5
            for latitude, longitude in known
        )
    ]
    assert not strangers


@needs_shared
@pytest.mark.parametrize("name", ["tn200", "bu303-moving", "humminbird-M37"])
def test_gnss_without_a_fix_or_without_nmea_invents_none(name: str) -> None:
    _, events = gnss((SHARED / "data" / "gnss" / f"{name}.log").read_bytes())
    if name != "humminbird-M37":
        assert all(position.latitude_deg is None for position in positions(events))
    assert all((position.latitude_deg, position.longitude_deg) != (0.0, 0.0) for position in positions(events))


def at(second: int) -> Any:
    return datetime(2026, 11, 21, 8, 30, second, tzinfo=UTC)


@pytest.mark.parametrize(
    "nothing",
    [
        b"".join(no_fix_sentences(at(second)) for second in range(3)),
        sentence("GPGGA,083000.00,3221.6,N,10649.2,E,0,00,,,M,,M,,") * 2,
        sentence("GPGGA,083000.00,3221.6,N,10649.2,E,8,09,1.0,,M,,M,,"),
        sentence("GPGGA,083000.00,3221.6,N,10649.2,E,7,09,1.0,,M,,M,,"),
        sentence("GPGGA,083000.00,3221.6,N,10649.2,E,6,09,1.0,,M,,M,,"),
        sentence("GPRMC,083000.00,V,3221.6,N,10649.2,E,0,0,211126,,,N"),
        sentence("GNRMC,083000.00,A,3221.6,N,10649.2,E,0,0,211126,,,E"),
        sentence("GNRMC,083000.00,A,3221.6,N,10649.2,E,0,0,211126,,,S,V"),
        sentence("GPGGA,083000.00,,,,,1,09,1.0,,M,,M,,"),
        sentence("GPGSA,A,1,,,,,,,,,,,,,,,") + sentence("GPGGA,083000.00,3221.6,N,10649.2,E,1,09,1.0,,M,,M,,"),
    ],
)
def test_gnss_no_fix_is_no_position(nothing: bytes) -> None:
    _, events = gnss(nothing)
    assert positions(events)
    assert all((p.latitude_deg, p.longitude_deg, p.accuracy_m) == (None, None, None) for p in positions(events))


def test_gnss_fix_lost_while_the_receivers_time_stands_still() -> None:
    driver, _ = gnss(fix_sentences(at(0), 32.36, 106.82))
    lost = driver.feed(no_fix_sentences(at(0)) * 3).events + settled(driver)
    assert [position.latitude_deg for position in positions(lost)] == [None]


def test_gnss_wrong_checksums_are_counted_and_not_used() -> None:
    spoiled = fix_sentences(at(0), 32.36, 106.82).replace(b"*", b"*F").replace(b"\r", b"")
    driver, events = gnss(spoiled)
    assert not positions(events)
    assert driver.counters.bad_checksums + driver.counters.dropped_bytes > 0
    flipped = fix_sentences(at(0), 32.36, 106.82).replace(b"3221", b"3321")
    driver, events = gnss(flipped)
    assert not positions(events)
    assert driver.counters.bad_checksums == 2


def test_gnss_sentences_without_a_checksum_are_not_used() -> None:
    bare = b"".join(line.split(b"*")[0] + b"\r\n" for line in fix_sentences(at(0), 32.36, 106.82).splitlines())
    driver, events = gnss(bare)
    assert not positions(events)
    assert driver.counters.bad_checksums == 4


def test_gnss_sensible_checksum_over_nonsense_is_dropped() -> None:
    for fields in ("GNGGA,x,y,N,z,E,1,1,1,1,M,1,M,,", "GNRMC,996199,A,9999.9,N,99999.9,E,1,1,999999,,,A", "GPXYZ", "P"):
        driver, events = gnss(sentence(fields))
        assert not positions(events)
        assert driver.counters.frames + driver.counters.dropped_bytes > 0


def test_gnss_one_position_a_second_from_a_fast_receiver() -> None:
    stream = b"".join(fix_sentences(at(0) + timedelta(milliseconds=200 * i), 32.36, 106.82) for i in range(25))
    _, events = gnss(stream)
    assert 5 <= len(positions(events)) <= 6


def test_gnss_unplugged_is_no_position_any_more() -> None:
    driver, events = gnss(fix_sentences(at(0), 32.36, 106.82))
    assert positions(events)[-1].latitude_deg == pytest.approx(32.36, abs=1e-6)
    assert positions(driver.close().events) == [Position(None, None, None, 0)]
    assert not driver.close().events
