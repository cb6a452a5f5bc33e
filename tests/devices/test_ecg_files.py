"""ECG files read back: written by our own small writers, and as others published them."""

from __future__ import annotations

import struct
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_captures import SHARED, needs_shared, vectors
from ecg_file_writers import EIGHT, Scp, ascii_tag, contec, heartbeats, scp_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import ecg_files
from devices.ecg_files import contec_ecg, scp_ecg
from devices.ecg_files.document import LARGEST_FILE_BYTES, EcgFileDamaged, EcgFileRefused, EcgFileUnsupported
from devices.readings import INVALID_COUNT

BEATS = heartbeats(2.0)
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


# Contec


def test_contec_gives_the_counts_that_the_device_wrote() -> None:
    document = ecg_files.read(contec(BEATS))
    samples = document.samples
    assert (document.format, document.device_said) == ("contec-ecg", "Contec ECG90A")
    assert document.recorded_said_at == "2026-11-20T08:30:00"
    assert (samples.channels, samples.sample_rate_hz, samples.resolution, samples.unit) == (EIGHT, 800.0, 5.0, "uV")
    assert np.array_equal(samples.counts, BEATS)
    assert document.duration_s == len(BEATS) / 800


@pytest.mark.parametrize(
    ("name", "sex", "age", "said"),
    [
        (b"", 255, 0, (None, None, None)),
        (b"Li Ming", 1, 54, ("Li Ming", "male", 54)),
        ("李小明".encode("gb18030"), 0, 61, ("李小明", "female", 61)),
        (b"Li\x07\tMing", 9, 200, ("LiMing", None, 200)),
    ],
    ids=["blank", "ascii", "gb18030", "strange"],
)
def test_contec_says_of_the_person_what_was_entered(name: bytes, sex: int, age: int, said: tuple[Any, ...]) -> None:
    person = ecg_files.read(contec(BEATS, name, sex, age)).person
    assert (person.name, person.sex, person.age_years) == said
    assert (person.id_number, person.born_on) == (None, None)
    assert "Li" not in repr(person)


def test_contec_electrode_off_is_no_value_also_in_what_follows_from_it() -> None:
    counts = BEATS.copy()
    counts[10:20, 3] = INVALID_COUNT  # V2
    counts[30:40, 1] = INVALID_COUNT  # II takes I with it
    got = ecg_files.read(contec(counts)).samples.counts
    assert (got[10:20, 3] == INVALID_COUNT).all()
    assert (got[30:40, :2] == INVALID_COUNT).all()
    expected = counts.copy()
    expected[30:40, 0] = INVALID_COUNT
    assert np.array_equal(got, expected)


def test_contec_a_scan_of_zeros_is_the_end() -> None:
    blob = contec(BEATS)
    at = contec_ecg.HEADER_BYTES + 100 * contec_ecg.SCAN_BYTES
    ended = blob[:at] + bytes(16) + blob[at + 16 :]
    assert np.array_equal(ecg_files.read(ended).samples.counts, BEATS[:100])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda blob: blob[:-1],
        lambda blob: blob + b"\0",
        lambda blob: blob[: contec_ecg.HEADER_BYTES + contec_ecg.FOOTER_BYTES],
        lambda blob: blob[:43] + b"\x00\x10" + blob[45:],  # 4096: a thirteenth bit
        lambda blob: blob[:43] + bytes(16) + blob[59:],  # ends before it begins
        lambda blob: blob[:10] + b"2026-13-20 08:30:00" + blob[29:],
    ],
    ids=["cut", "too long", "empty", "out of range", "no scan", "no such month"],
)
def test_contec_damage_is_said(spoil: Any) -> None:
    with pytest.raises(EcgFileDamaged):
        ecg_files.read(spoil(contec(BEATS)))


@pytest.mark.parametrize("vector", vectors("ECG90A"))
def test_contec_published_header_and_first_row(vector: dict[str, Any]) -> None:
    head, first_row = bytes.fromhex(vector["hex"]), vector["expected"]["first_row"]
    document = ecg_files.read(head + bytes(contec_ecg.FOOTER_BYTES))
    ii, iii, *chest = (count - 2048 for count in first_row)
    assert document.samples.counts.tolist() == [[ii - iii, ii, *chest]]
    assert document.samples.values()[0, 0] == -160.0
    assert document.recorded_said_at == "2020-11-24T07:19:13"


# SCP-ECG


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "default code"])
@pytest.mark.parametrize("differences", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 1])
def test_scp_gives_the_counts_that_were_written(packed: bool, differences: int, first: int) -> None:
    document = ecg_files.read(Scp(BEATS, packed=packed, differences=differences, first=first).record())
    samples = document.samples
    assert (document.format, samples.channels, samples.sample_rate_hz) == ("scp-ecg", EIGHT, 500.0)
    assert (samples.resolution, samples.unit, document.missing_samples) == (5.0, "uV", 0)
    assert np.array_equal(samples.counts, BEATS)


def test_scp_packed_takes_every_number_of_16_bits() -> None:
    counts = np.array([[0, 1, -1, 8, -8, 9, -9, 127, -128, 128, -129, 32767, -32767]], np.int16).T
    assert np.array_equal(ecg_files.read(Scp(counts, leads=("II",), packed=True).record()).samples.counts, counts)


def test_scp_says_person_device_and_time() -> None:
    tags = [
        ascii_tag(0, "Zhang"),
        ascii_tag(1, "San"),
        ascii_tag(2, "999999196002290001"),
        (4, struct.pack("<HB", 66, 1)),
        (5, struct.pack("<HBB", 1960, 2, 29)),
        (8, b"\x02"),
        (14, bytes(8) + b"ECG12\0" + bytes(22)),
        (25, struct.pack("<HBB", 2026, 11, 20)),
        (26, bytes((8, 30, 5))),
    ]
    document = ecg_files.read(Scp(BEATS, tags=tags).record())
    person = document.person
    assert (person.name, person.id_number, person.sex) == ("Zhang San", "999999196002290001", "female")
    assert (person.born_on, person.age_years) == (date(1960, 2, 29), 66)
    assert (document.device_said, document.recorded_said_at) == ("ECG12", "2026-11-20T08:30:05")


def test_scp_chinese_names_are_joined_without_a_blank() -> None:
    tags = [ascii_tag(0, "张", "gb18030"), ascii_tag(1, "三", "gb18030")]
    assert ecg_files.read(Scp(BEATS, tags=tags).record()).person.name == "张三"


@pytest.mark.parametrize(
    "tag",
    [(25, struct.pack("<HBB", 2026, 2, 30)), (5, b"\0\0\0"), (26, b"\x19\0\0"), (4, b"\x10"), (8, b"\x07"), (14, b"")],
    ids=["date", "birth", "time", "age", "sex", "device"],
)
def test_scp_what_cannot_be_is_not_said(tag: tuple[int, bytes]) -> None:
    document = ecg_files.read(Scp(BEATS, tags=[(25, struct.pack("<HBB", 2026, 2, 3)), tag]).record())
    assert document.recorded_said_at is None
    assert (document.person.sex, document.person.age_years, document.device_said) == (None, None, "")


def test_scp_leads_that_begin_later_have_no_value_before() -> None:
    counts = BEATS[:, :3]
    got = ecg_files.read(Scp(counts, leads=("I", "II", "V1"), first_of={"V1": 251}).record()).samples.counts
    assert np.array_equal(got[:1000, :2], counts[:, :2])
    assert (got[:250, 2] == INVALID_COUNT).all()
    assert np.array_equal(got[250:, 2], counts[:, 2])
    assert (got[1000:, :2] == INVALID_COUNT).all()


def test_scp_length_that_overflowed_is_put_right() -> None:
    counts = np.tile(BEATS[:, :2], (40, 1))
    assert 2 * len(counts) > 65536
    for first in (0, 1):
        document = ecg_files.read(Scp(counts, leads=("I", "II"), first=first).record())
        assert np.array_equal(document.samples.counts, counts)
        assert document.missing_samples == 0


def test_scp_samples_that_a_writer_cut_off_are_counted() -> None:
    document = ecg_files.read(Scp(BEATS, announced=1500).record())
    assert np.array_equal(document.samples.counts, BEATS)
    assert document.missing_samples == 500


@pytest.mark.parametrize(
    "special",
    [
        {"flags": 0x45},
        {"bimodal": 1},
        {"packed": True, "code": 1},
        {"lead_codes": dict.fromkeys(EIGHT, 200)},
        {"first_of": {"V1": 4_000_000_000}},
        {"announced": 4_000_000},
    ],
    ids=["reference beat", "bimodal", "own code", "unknown lead", "far apart", "enormous"],
)
def test_scp_what_is_not_read_here_is_refused_in_words(special: dict[str, Any]) -> None:
    with pytest.raises(EcgFileUnsupported):
        ecg_files.read(Scp(BEATS, **special).record())


@pytest.mark.parametrize(
    "sections",
    [{}, {3: b"\x01\x44" + struct.pack("<IIB", 1, 9, 1)}, {6: b"\0" * 20}],
    ids=["nothing", "no rhythm", "no leads"],
)
def test_scp_without_a_rhythm_is_refused(sections: dict[int, bytes]) -> None:
    with pytest.raises(EcgFileUnsupported):
        ecg_files.read(scp_record(sections))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nanovolt": 0},
        {"interval_us": 0},
        {"differences": 3},
        {"packed": True, "announced": 1200},
        {"lead_codes": dict.fromkeys(EIGHT, 1)},
    ],
    ids=["no resolution", "no rate", "coding", "ends early", "a lead twice"],
)
def test_scp_what_contradicts_itself_is_damaged(wrong: dict[str, Any]) -> None:
    whole = {name: said for name, said in wrong.items() if name != "differences"}
    blob = Scp(BEATS, **whole).record()
    if "differences" in wrong:
        blob = scp_record({3: Scp(BEATS)._leads(), 6: struct.pack("<HHBB", 5000, 2000, 3, 0) + bytes(16)})
    with pytest.raises(EcgFileDamaged):
        ecg_files.read(blob)


@needs_shared
def test_scp_public_record_has_exactly_the_announced_numbers_in_its_default_code() -> None:
    """A real record, coded and of second differences: every lead unpacks to its length, less than a byte is left over.

    Its reference beat was taken away, so it is no rhythm to show; and that is said.
    """
    record = (SHARED / "data" / "ecg" / "formats" / "test.scp").read_bytes()
    with pytest.raises(EcgFileUnsupported, match="reference beat"):
        ecg_files.read(record)
    pointer = 6 + 16 + 6 * 10
    section, length, index = struct.unpack_from("<HII", record, pointer)
    rhythm = record[index + 15 : index - 1 + length]
    assert (section, rhythm[4]) == (6, 2)
    lengths = struct.unpack_from("<8H", rhythm, 6)
    at = 22
    for n_bytes in lengths:
        part = rhythm[at : at + n_bytes]
        at += n_bytes
        assert np.abs(scp_ecg.undo(scp_ecg.unpacked(part, 5000), 2)).max() * 0.02 < 5  # mV: nothing ran away
        with pytest.raises(EcgFileDamaged):
            scp_ecg.unpacked(part, 5008)
    assert at == len(rhythm)


# whatever comes


@pytest.mark.parametrize("blob", [b"", b"\0" * 5000, b"ECG", bytes(range(256)) * 20])
def test_what_is_no_ecg_file_is_refused(blob: bytes) -> None:
    with pytest.raises(EcgFileRefused):
        ecg_files.read(blob)


def test_a_file_that_is_too_large_is_not_even_looked_at() -> None:
    with pytest.raises(EcgFileRefused, match="more than"):
        ecg_files.read(bytes(LARGEST_FILE_BYTES + 1))


GOOD = {
    "contec": contec(BEATS[:200], b"Li Ming", 1, 54),
    "scp plain": Scp(BEATS[:200], tags=[ascii_tag(0, "Li"), (25, b"\xea\x07\x0b\x14"), (26, b"\x08\x1e\x00")]).record(),
    "scp packed": Scp(BEATS[:200], packed=True, differences=2).record(),
}


@pytest.mark.parametrize("form", GOOD)
@quick
@given(data=st.data())
def test_spoiled_bytes_raise_nothing_but_the_one_error(form: str, data: st.DataObject) -> None:
    blob = bytearray(GOOD[form])
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(blob) - 1), st.integers(0, 255)), max_size=8)):
        blob[at] = byte
    cut = data.draw(st.integers(0, len(blob)) | st.just(len(blob)))
    read_or_refused(bytes(blob[:cut]))


@quick
@given(
    leads=st.binary(max_size=60),
    rhythm=st.binary(max_size=300),
    tags=st.binary(max_size=60),
    code=st.sampled_from([None, b"\x1f\x4e", b"\x01\x00", b"\x01"]),
)
def test_sections_of_any_contents_with_right_checksums_raise_nothing_else(
    leads: bytes, rhythm: bytes, tags: bytes, code: bytes | None
) -> None:
    sections = {1: tags, 3: leads, 6: rhythm} | ({} if code is None else {2: code})
    read_or_refused(scp_record(sections))


@quick
@given(
    n=st.integers(0, 255),
    first=st.integers(0, 2**32 - 1),
    last=st.integers(0, 2**32 - 1),
    coded=st.booleans(),
    length=st.integers(0, 65535),
)
def test_claims_of_any_size_take_no_memory(n: int, first: int, last: int, coded: bool, length: int) -> None:
    lead = b"".join(struct.pack("<IIB", first, last, code) for code in [1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8][:n])
    rhythm = struct.pack("<HHBB", 5000, 2000, 2, 0) + struct.pack("<H", length) * min(n, 12) + b"\x55" * 500
    sections = {3: bytes((min(n, 12), 0x44)) + lead, 6: rhythm} | ({2: b"\x1f\x4e"} if coded else {})
    record = scp_record(sections)
    tracemalloc.start()
    try:
        read_or_refused(record)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


def read_or_refused(blob: bytes) -> None:
    try:
        document = ecg_files.read(blob)
    except EcgFileRefused:
        return
    samples = document.samples
    assert samples.counts.dtype == np.int16
    assert samples.counts.shape == (len(samples.counts), len(samples.channels))
    assert len(samples.counts) > 0
    assert samples.sample_rate_hz > 0
    assert samples.resolution > 0


def test_fixtures_are_ours(tmp_path: Path) -> None:
    """The writers stand for the formats: what they write is told apart by its bytes, not by its name."""
    for form, blob in GOOD.items():
        (tmp_path / "ecg.bin").write_bytes(blob)
        assert ecg_files.read((tmp_path / "ecg.bin").read_bytes()).format == f"{form.split()[0]}-ecg"
