"""Bodies of the mirror protocol: written, read back, refused when malformed, useful when cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.formats import content_coding, wire
from sync.formats.merkle import consistency_proof, leaf_hash, root_of
from sync.formats.notes import Checkpoint, SeedSigner
from tests.sync.formats.test_merkle import reader

ORIGIN = "van-07.qingyu.example"
ENTRIES = [b"entry %d" % n for n in range(700)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
# C2SP tlog-witness, example request
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
""".encode()  # noqa: E501


def body(start: int, end: int) -> bytes:
    packages = [
        wire.build_package(first, last, end, reader(LEAVES), lambda n, count: ENTRIES[n : n + count])
        for first, last in wire.package_ranges(start, end)
    ]
    return wire.add_entries_body(wire.AddEntriesHead(ORIGIN, start, end, b"ticket"), packages)


def test_published_add_checkpoint_is_read_and_written() -> None:
    asked = wire.AddCheckpoint.parse(EXAMPLE)
    assert (asked.old_size, len(asked.proof)) == (20852014, 4)
    assert Checkpoint.parse(asked.checkpoint.text).size == 20852163
    assert bytes(asked) == EXAMPLE


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        EXAMPLE.replace(b"old 2", b"old 02"),
        EXAMPLE.replace(b"old", b"new"),
        EXAMPLE.replace(b"\n\n", b"\n"),
        EXAMPLE.replace(b"jrJZ", b"jrJ"),
        EXAMPLE[:-1],
        b"old 1\n" + 64 * (EXAMPLE.split(b"\n")[1] + b"\n") + EXAMPLE[EXAMPLE.index(b"\n\n") + 1 :],
    ],
)
def test_malformed_add_checkpoint_is_refused(damaged: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.AddCheckpoint.parse(damaged)


@given(st.integers(0, 699), st.data())
def test_packages_prove_themselves(start: int, data: st.DataObject) -> None:
    end = data.draw(st.integers(start, 700))
    asked = wire.AddEntries.parse(body(start, end))
    assert (asked.head.origin, asked.head.upload_start, asked.head.upload_end, asked.head.ticket) == (
        ORIGIN,
        start,
        end,
        b"ticket",
    )
    assert [entry for package in asked.packages for entry in package.entries] == ENTRIES[start:end]
    assert not asked.truncated
    for package in asked.packages:
        assert package.proves(LEAVES[package.rounded_start : package.first], end, root_of(LEAVES[:end]))
        assert package.end % 256 == 0 or package.end == end


@given(st.data())
def test_a_cut_body_still_gives_its_whole_packages(data: st.DataObject) -> None:
    whole = body(10, 600)
    cut = whole[: data.draw(st.integers(50, len(whole) - 1))]
    asked = wire.AddEntries.parse(cut)
    complete = wire.AddEntries.parse(whole).packages
    assert asked.packages == complete[: len(asked.packages)]
    assert len(asked.packages) < len(complete)


@given(st.data())
def test_changed_entries_prove_nothing(data: st.DataObject) -> None:
    package = wire.AddEntries.parse(body(256, 600)).packages[0]
    place = data.draw(st.integers(0, 255))
    changed = list(package.entries)
    changed[place] += b"!"
    assert not wire.Package(256, tuple(changed), package.proof).proves([], 600, root_of(LEAVES[:600]))
    assert not wire.Package(256, package.entries[:-1], package.proof).proves([], 600, root_of(LEAVES[:600]))
    assert not package.proves([bytes(32)], 600, root_of(LEAVES[:600]))


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00", body(0, 3)[:30], body(0, 3) + b"\x00", b"\x00\x01a" + bytes(7) + b"\x05" + bytes(10)]
)
def test_malformed_add_entries_is_refused(damaged: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.AddEntries.parse(damaged)


@given(st.binary(max_size=200))
def test_noise_never_raises_anything_else(noise: bytes) -> None:
    for parse in (
        wire.AddCheckpoint.parse,
        wire.AddEntries.parse,
        wire.MirrorInfo.parse,
        wire.parse_size_body,
        wire.parse_signature_lines,
        wire.unpack_entries,
        lambda data: content_coding.decode(data, "zstd", 1000),
        lambda data: content_coding.decode(data, "gzip", 1000),
        lambda data: wire.Tile.parse(data.decode("latin-1")),
    ):
        try:
            parse(noise)
        except wire.Malformed:
            continue


def test_mirror_info_and_sizes() -> None:
    info = wire.MirrorInfo(700, 512, b"\x00\xffopaque")
    assert wire.MirrorInfo.parse(bytes(info)) == info
    assert bytes(wire.MirrorInfo(700, 512)) == b"700\n512\n\n"
    assert wire.parse_size_body(wire.size_body(20852014)) == 20852014


def test_tile_paths_of_the_specification() -> None:
    assert wire.Tile(0, 1234067).path() == "tile/0/x001/x234/067"
    assert wire.Tile(-1, 5, 12).path() == "tile/entries/005.p/12"
    assert wire.Tile.parse("tile/0/x001/x234/067") == wire.Tile(0, 1234067)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/1",
        "tile/00/001",
        "tile/64/001",
        "tile/0/x000/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/07",
        "tile/0/x001",
        "tile/entries/001/",
        "tile/x/001",
    ],
)
def test_other_tile_paths_are_refused(path: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.Tile.parse(path)


def test_tiles_of_the_specification_s_example() -> None:
    """tlog-tiles, Partial Tiles: a tree of 70,000, and one of 256."""
    tiles = [tile for tile in wire.tiles_of(70_000) if tile.level >= 0]
    assert [len([tile for tile in tiles if tile.level == level]) for level in (0, 1, 2)] == [274, 2, 1]
    assert [tile.width for tile in tiles if tile.width < 256] == [112, 17, 1]
    assert [(tile.level, tile.width) for tile in wire.tiles_of(256)] == [(-1, 256), (0, 256), (1, 1)]
    assert all(tile.within(70_000) and not tile.within(tile.index * 256) for tile in tiles if tile.level == 0)


@given(st.integers(0, 699))
def test_tiles_hold_the_tree(size: int) -> None:
    read = reader(LEAVES[:size])
    level0 = b"".join(tile.hashes(read) for tile in wire.tiles_of(size) if tile.level == 0)
    assert level0 == b"".join(LEAVES[:size])
    for tile in wire.tiles_of(size):
        assert wire.Tile.parse(tile.path()) == tile
        assert tile.level < 1 or tile.hashes(read) == b"".join(
            root_of(LEAVES[n * 256 : n * 256 + 256]) for n in range(tile.width)
        )


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_entry_bundles_are_read_back(entries: list[bytes]) -> None:
    assert wire.unpack_entries(wire.pack_entries(entries)) == entries


def test_too_large_an_entry_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        wire.pack_entries([bytes(65_536)])


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
def test_encodings(encoding: str) -> None:
    data = b"entry after entry " * 5000
    packed = content_coding.encode(data, encoding)
    assert content_coding.decode(packed, encoding, len(data)) == data
    with pytest.raises(wire.Malformed, match="larger"):
        content_coding.decode(packed, encoding, len(data) - 1)
    with pytest.raises(wire.Malformed, match="not known"):
        content_coding.decode(packed, "br", len(data))


@pytest.mark.parametrize("encoding", ["zstd", "gzip"])
def test_a_cut_compressed_body_gives_what_was_whole(encoding: str) -> None:
    data = b"".join(leaf_hash(b"%d" % n) for n in range(20_000))
    packed = content_coding.encode(data, encoding)
    part = content_coding.decode(packed[: len(packed) * 2 // 3], encoding, len(data))
    assert data.startswith(part)
    assert len(part) > len(data) // 3


def test_consistency_proof_travels_whole() -> None:
    checkpoint = Checkpoint(ORIGIN, 600, root_of(LEAVES[:600])).signed(SeedSigner(ORIGIN, b"v" * 32))
    asked = wire.AddCheckpoint(10, tuple(consistency_proof(10, 600, reader(LEAVES))), checkpoint)
    assert wire.AddCheckpoint.parse(bytes(asked)) == asked
