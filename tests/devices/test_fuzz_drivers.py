"""A few inputs of ``fuzz_drivers`` for each driver in every run of the tests; by the million it runs apart."""

from __future__ import annotations

import pytest
from fuzz_drivers import FILES, run

from devices import catalog
from devices.capture import settled
from devices.drivers import bluetooth_pulse_oximeter, hl7_analyser, nmea_gnss
from devices.framing import xor8
from devices.readings import Position, PulseOximetry


@pytest.mark.parametrize("name", [*sorted(catalog.drivers()), FILES])
def test_spoiled_bytes_are_borne(name: str) -> None:
    assert run(name, inputs=400, seed=2026)


def test_a_date_that_is_none_leaves_the_position_without_a_time() -> None:
    driver = nmea_gnss.Driver()
    driver.open()
    body = "GPRMC,083000.00,A,3221.6,N,10649.2,E,0,0,31x126,,,A"
    events = driver.feed(f"${body}*{xor8(body.encode()):02X}\r\n".encode()).events + settled(driver)
    assert {event.gnss_at for event in events if isinstance(event, Position)} == {None}


def test_a_perfusion_index_below_zero_is_none() -> None:
    driver = bluetooth_pulse_oximeter.Driver()
    driver.open()
    (reading, *_) = driver.feed(bytes.fromhex("1061004800FF0F"), "2A5F").events
    assert reading == PulseOximetry(97, 72, None)


def test_a_laboratory_result_of_control_characters_alone_is_none() -> None:
    text = "MSH|^~\\&|A|B|||20261122||ORU^R01|1|P|2.3.1\rOBX|1|SN|WBC||^\x1d^|\rOBX|2|NM|RBC||4.5|"
    (result,) = hl7_analyser.message_of(text).results
    assert [(found.code, found.said) for found in result.values] == [("RBC", "4.5")]
