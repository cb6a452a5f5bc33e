"""Packing on the wire: dcz of RFC 9842 with the shipped dictionary, and how van and county agree on a coding."""

from __future__ import annotations

from hashlib import sha256
from importlib import resources
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from devices.clock import SimulatedClock
from sync.delivery.county_client import CountyClient
from sync.delivery.uploader import Uploader
from sync.formats import content_coding
from sync.formats.canonical import Json
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft, Stamp, write_entry
from sync.formats.wire import Malformed
from sync.record.recordings import Recordings
from sync.record.store import Store
from tests.sync.conftest import START, reading
from tests.sync.county_simulator import CountySimulator

DICTIONARY = (resources.files("sync.formats") / "entries.zdict").read_bytes()
HEAD = bytes.fromhex("5e2a4d1820000000") + sha256(DICTIONARY).digest()


def entry() -> bytes:
    values: dict[str, Json] = {"systolic_mmhg": 147, "diastolic_mmhg": 92, "pulse_bpm": 71}
    fields: dict[str, Json] = {"reading": "reading-01JQ0M3V9TESVNY5QZP7M2XK4A", "device": "cuff-1", "by_hand": False}
    draft = Draft(
        "reading/1",
        {**fields, "driver": "bluetooth_blood_pressure", "type": "blood_pressure", "values": values},
        "chen.li",
        "visit-01JQ0KZX3M8V4T2R6Y9B1CDEFG",
        "encounter-01JQ0M2B7N5QJX8W3Z6K9PRSTV",
    )
    return write_entry(draft, Stamp(48_213, START, "gnss", 61, 7_310_442, "van-12", sha256(b"salt").digest()[:16])).body


def test_dcz_is_as_rfc_9842_has_it() -> None:
    """Section 5: a skippable frame with the SHA-256 of the raw dictionary, then a zstd stream."""
    packed = content_coding.encode(entry(), "dcz")
    assert packed[:40] == HEAD
    raw = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decoder = zstandard.ZstdDecompressor(dict_data=raw, max_window_size=8 * 1024 * 1024)
    assert decoder.decompressobj().decompress(packed[40:]) == entry()
    assert len(DICTIONARY) <= 64 * 1024
    assert not DICTIONARY.startswith(bytes.fromhex("37a430ec")), "a raw dictionary, not one of zstd's own format"


def test_a_single_record_packs_with_the_dictionary_twice_as_well_as_without() -> None:
    body = entry()
    plain, packed = (len(content_coding.encode(body, coding)) for coding in ("zstd", "dcz"))
    assert len(body) / (packed - 40) > 2.5
    assert packed < 0.8 * plain


@given(st.binary(max_size=5000))
def test_whatever_is_packed_comes_back(body: bytes) -> None:
    for coding in (*content_coding.CODINGS, "identity"):
        assert content_coding.decode(content_coding.encode(body, coding), coding.upper(), 5000) == body


@given(st.binary(max_size=300), st.integers(0, 339), st.integers(0, 255))
def test_a_damaged_dcz_body_is_refused_or_is_another_body(body: bytes, place: int, bits: int) -> None:
    packed = bytearray(content_coding.encode(body, "dcz"))
    packed[place % len(packed)] ^= bits
    try:
        content_coding.decode(bytes(packed), "dcz", 10_000)
    except Malformed:
        return


def test_unknown_dictionary_is_said_to_be_unknown() -> None:
    packed = bytearray(content_coding.encode(entry(), "dcz"))
    packed[8] ^= 1
    with pytest.raises(content_coding.CodingUnknown, match="dictionary"):
        content_coding.decode(bytes(packed), "dcz", 10_000)
    for head in (b"", HEAD[:39], b"\x28\xb5\x2f\xfd" + bytes(40)):
        with pytest.raises(Malformed):
            content_coding.decode(head, "dcz", 10_000)


@pytest.mark.parametrize("coding", content_coding.CODINGS)
def test_more_than_allowed_is_refused(coding: str) -> None:
    packed = content_coding.encode(bytes(100_001), coding)
    with pytest.raises(Malformed, match="larger"):
        content_coding.decode(packed, coding, 100_000)


@pytest.mark.parametrize(
    ("accepted", "refused", "chosen"),
    [
        ("", (), "gzip"),
        ("dcz, zstd, gzip", (), "dcz"),
        ("gzip, ZSTD;q=0.5", (), "zstd"),
        ("dcz, zstd, gzip", ("dcz",), "zstd"),
        ("dcz;q=0, zstd;q=0.0, gzip", (), "gzip"),
        ("br", (), "identity"),
        ("dcz", ("dcz",), "identity"),
    ],
)
def test_best_coding_that_both_know(accepted: str, refused: tuple[str, ...], chosen: str) -> None:
    assert content_coding.best(accepted, refused) == chosen


@pytest.mark.parametrize(
    ("accepts", "refuses", "used"),
    [
        ("dcz, zstd, gzip", set(), ["dcz"]),
        ("dcz, zstd, gzip", {"dcz"}, ["dcz", "zstd"]),
        ("dcz, zstd, gzip", {"dcz", "zstd"}, ["dcz", "zstd", "gzip"]),
        ("dcz", {"dcz"}, ["dcz", "identity"]),
        ("", set(), ["gzip"]),
    ],
)
async def test_van_uses_what_the_county_takes_and_remembers_what_it_refused(
    store: Store,
    signer: SeedSigner,
    clock: SimulatedClock,
    tmp_path: Path,
    accepts: str,
    refuses: set[str],
    used: list[str],
) -> None:
    county = CountySimulator(signer.verifier_key(), clock)
    county.accepts, county.refuses = accepts, refuses
    client = CountyClient("http://county", county.cosigner.verifier_key(), signer, clock, county)
    uploader = Uploader(store, Recordings(tmp_path / "recordings"), client, clock)
    assert (await uploader.deliver_now()).complete
    assert [coding for coding in county.codings if coding] == used
    store.commit_now(reading(1))
    assert (await uploader.deliver_now()).complete
    assert [coding for coding in county.codings if coding] == [*used, used[-1]]
