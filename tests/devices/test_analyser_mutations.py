"""Messages of analysers with bytes changed, lost and doubled: nothing raises, nothing becomes another number."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_analysers import REPORT, SAID, heard_by, said

from devices.astm import ENQ, frame
from devices.drivers import astm_analyser, gmp_urine, hl7_analyser
from devices.laboratory import number_of
from devices.readings import LaboratoryResult
from devices.simulators.astm_analyser import records
from devices.simulators.hl7_analyser import oru

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(data=st.data())
def test_a_frame_with_any_byte_changed_gives_no_other_number(data: st.DataObject) -> None:
    """The checksum of E1381 is a sum: any single change is seen, so nothing but the report itself is ever told."""
    driver = astm_analyser.Driver()
    driver.open()
    driver.feed(ENQ)
    told: list[LaboratoryResult] = []
    frames = [frame(n, record.encode() + b"\r") for n, record in enumerate(records(REPORT), start=1)]
    for whole in frames:
        spoiled = bytearray(whole)
        at = data.draw(st.integers(1, len(whole) - 3))
        spoiled[at] = data.draw(st.integers(0, 255))
        told += heard_by(driver, bytes(spoiled))
        told += heard_by(driver, whole)
    for result in told:
        assert set(said(result)) <= set(SAID)


@quick
@given(data=st.data())
def test_mutated_messages_never_raise_and_special_values_never_become_numbers(data: st.DataObject) -> None:
    raw = bytearray(oru(REPORT, "1").encode())
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["change", "cut", "double"])):
            case "change":
                raw[at] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[at]
            case _:
                raw.insert(at, raw[at])
    driver = hl7_analyser.Driver()
    driver.open()
    for result in heard_by(driver, b"\x0b" + bytes(raw) + b"\x1c\r"):
        for value in result.values:
            assert (value.number is not None) == (number_of(value.said)[0] is not None)


@quick
@given(record=st.binary(min_size=19, max_size=19))
def test_any_urine_record_gives_levels_that_its_display_could_show(record: bytes) -> None:
    driver = gmp_urine.Driver()
    driver.open()
    for result in heard_by(driver, gmp_urine.frame(gmp_urine.NEWEST, record)):
        for value in result.values:
            assert value.said
            assert value.number is None or value.code in ("PH", "SG")
