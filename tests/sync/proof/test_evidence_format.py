"""The bundle's file, its partial trees and its manifest: what is written is read back, and nothing else is."""

from __future__ import annotations

import io
import zipfile
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.formats import canonical
from sync.formats.merkle import leaf_hash, node_hash, root_of
from sync.proof.bundle_file import LARGEST_FILE_BYTES, BundleUnreadable, read_members, write_members
from sync.proof.evidence import (
    Bundle,
    ClaimedVisit,
    LogPart,
    Manifest,
    NotProven,
    PartialTree,
    nodes_for,
    read_bundle,
    write_bundle,
)

BODIES = [canonical.dumps({"n": n, "kind": "test/1"}) for n in range(70)]
LEAVES = [leaf_hash(body) for body in BODIES]
CLAIM = ClaimedVisit("visit-1", "van-07.qingyu.example", "counted")
MANIFEST = Manifest("county.qingyu.example", "510199201001", "2026-09", False, (CLAIM,))


def whole(level: int, index: int) -> bytes:
    """Hash of a complete subtree of the test log."""
    if level == 0:
        return LEAVES[index]
    return node_hash(whole(level - 1, 2 * index), whole(level - 1, 2 * index + 1))


def part(singly: list[tuple[int, int]], shown: set[int], sizes: list[int]) -> LogPart:
    nodes = nodes_for(singly, sizes)
    entries = {n: BODIES[n] for n in sorted(shown) if (0, n) in nodes}
    hashes = {node: whole(*node) for node in nodes if node[0] or node[1] not in entries}
    return LogPart(entries, hashes, dict.fromkeys(sizes, b"a note"))


def bundle() -> Bundle:
    journal = part([(20, 31)], {20, 21, 25, 30}, [17, 40, 64])
    return Bundle(MANIFEST, part([(0, 3), (9, 10)], {0, 2, 9}, [10]), {CLAIM.origin: journal})


# trees ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=5),
    ranges=st.lists(st.tuples(st.integers(0, 69), st.integers(1, 12)), max_size=3),
)
def test_few_nodes_give_the_root_of_every_size(sizes: list[int], ranges: list[tuple[int, int]]) -> None:
    largest = max(sizes)
    singly = [(first, min(largest, first + count)) for first, count in ranges]
    nodes = nodes_for(singly, sizes)
    tree = PartialTree({node: whole(*node) for node in nodes})
    assert tree.size == largest
    for size in sizes:
        assert tree.root(size) == root_of(LEAVES[:size])
    alone = {index for level, index in nodes if level == 0}
    assert all(place in alone for first, end in singly for place in range(first, end))


def test_no_node_could_be_spared() -> None:
    """Two siblings are both there only when a range or a size lies between them."""
    nodes = nodes_for([(20, 31)], [17, 40, 64])
    assert nodes == [
        *[(4, 0), (0, 16), (0, 17), (1, 9)],
        *[(0, place) for place in range(20, 32)],
        *[(3, 4), (3, 5), (4, 3)],
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({(0, 2): None}, "missing"),
        ({(1, 0): b"x" * 32}, "twice"),
        ({(0, 0): None}, "missing"),
        ({(3, 0): b"x" * 32}, "twice"),
    ],
)
def test_a_gap_or_an_overlap_is_no_tree(change: dict[tuple[int, int], bytes | None], said: str) -> None:
    nodes = {(0, place): LEAVES[place] for place in range(4)}
    for node, hashed in change.items():
        if hashed is None:
            del nodes[node]
        else:
            nodes[node] = hashed
    with pytest.raises(NotProven, match=said) as caught:
        PartialTree(nodes)
    assert caught.value.code == "tree_incomplete"


def test_a_larger_subtree_never_stands_for_a_smaller_one() -> None:
    tree = PartialTree({(2, 0): whole(2, 0), (0, 4): LEAVES[4]})
    assert tree.root(4) == root_of(LEAVES[:4])
    assert tree.root(5) == root_of(LEAVES[:5])
    for size in (1, 2, 3, 6, 2**60):
        with pytest.raises(NotProven, match=r"within|covered"):
            tree.root(size)


def test_an_entry_and_its_hash_are_not_both_there() -> None:
    doubled = LogPart({0: BODIES[0]}, {(0, 0): LEAVES[0]}, {1: b""})
    with pytest.raises(NotProven, match="entry and as a hash"):
        doubled.tree()


# the file -------------------------------------------------------------------------------------------------------------


def test_a_bundle_is_read_back_and_is_the_same_bytes_again() -> None:
    data = write_bundle(bundle())
    again = read_bundle(data)
    assert again.manifest == MANIFEST
    assert again.journals == bundle().journals
    assert again.registry.entries == bundle().registry.entries
    assert write_bundle(again) == data == write_bundle(bundle())


def test_any_unzip_program_opens_it() -> None:
    with zipfile.ZipFile(io.BytesIO(write_bundle(bundle()))) as archive:
        assert archive.testzip() is None
        assert archive.read("manifest.json") == bytes(MANIFEST)
        names = archive.namelist()
    assert names == sorted(names)
    assert f"journal/{CLAIM.origin}/checkpoints/40" in names


def test_a_bundle_packed_again_by_another_program_is_as_good() -> None:
    members = read_members(write_bundle(bundle()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in reversed(members.items()):
            archive.writestr(zipfile.ZipInfo(name, (2026, 9, 30, 12, 0, 0)), content)
    assert read_bundle(packed.getvalue()) == read_bundle(write_bundle(bundle()))


def packed(**members: bytes) -> bytes:
    return write_members({name.replace("_", "/"): content for name, content in members.items()})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bundle_unreadable"),
        (b"not a zip file at all, but long enough to be one", "bundle_unreadable"),
        (write_bundle(bundle()) + b"\0", "bundle_unreadable"),
        (b"\0" + write_bundle(bundle()), "bundle_unreadable"),
        (write_bundle(bundle())[:-1], "bundle_unreadable"),
        (b"\0" * (LARGEST_FILE_BYTES + 1), "bundle_too_large"),
        (packed(manifest=b"{}"), "member_unknown"),
        (write_members({"../../etc/passwd": b"x"}), "member_unknown"),
        (write_members({"journal/../entries": b"x"}), "member_unknown"),
        (write_members({"journal/a/checkpoints/007": b"x"}), "member_unknown"),
        (write_members({"manifest.json": bytes(MANIFEST)}), "member_missing"),
        (write_members({"manifest.json": b"{}"}), "format_unknown"),
        (write_members({"manifest.json": b"{} "}), "manifest_unreadable"),
        (write_members({}), "member_missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_is_no_bundle_is_called_so(data: bytes, code: str) -> None:
    with pytest.raises(BundleUnreadable) as caught:
        read_bundle(data)
    assert caught.value.code == code


def bomb(size_said: int) -> bytes:
    """A member that unpacks to 64 MiB from 64 KiB and says ``size_said`` of itself."""
    content = bytes(64 * 1024 * 1024)
    good = write_members({"manifest.json": b"x"})
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(content) + packer.flush()
    crc = zlib.crc32(content)
    sizes = crc.to_bytes(4, "little") + len(body).to_bytes(4, "little") + size_said.to_bytes(4, "little")
    local = good[:8] + b"\x08\0" + good[10:14] + sizes + good[26:43] + body
    at = good.index(b"PK\1\2")
    central = good[at : at + 10] + b"\x08\0" + good[at + 12 : at + 16] + sizes + good[at + 28 : -22]
    return local + central + good[-22:-6] + len(local).to_bytes(4, "little") + good[-2:]


@pytest.mark.parametrize("size_said", [10, 8 * 1024 * 1024, 64 * 1024 * 1024])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(size_said: int) -> None:
    with pytest.raises(BundleUnreadable):
        read_members(bomb(size_said))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_the_file_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    good = write_bundle(bundle())
    changed = bytearray(good)
    place = data.draw(st.integers(0, len(good) - 1))
    match data.draw(st.sampled_from(["change", "insert", "delete"])):
        case "change":
            changed[place] ^= data.draw(st.integers(1, 255))
        case "insert":
            changed.insert(place, data.draw(st.integers(0, 255)))
        case _:
            del changed[place]
    try:
        found = read_bundle(bytes(changed))
    except BundleUnreadable:
        return
    assert found == read_bundle(good)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
@example(b"PK\5\6" + bytes(18))
def test_noise_is_never_an_error_of_another_kind(data: bytes) -> None:
    with pytest.raises(BundleUnreadable):
        read_bundle(data)


def test_two_members_of_one_name_are_refused() -> None:
    doubled = io.BytesIO()
    with zipfile.ZipFile(doubled, "w") as archive:
        archive.writestr("manifest.json", bytes(MANIFEST))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("manifest.json", bytes(MANIFEST))
    with pytest.raises(BundleUnreadable, match="twice"):
        read_members(doubled.getvalue())


# members --------------------------------------------------------------------------------------------------------------


def with_member(name: str, content: bytes) -> bytes:
    return write_members({**read_members(write_bundle(bundle())), name: content})


TREE, ENTRIES = f"journal/{CLAIM.origin}/tree", f"journal/{CLAIM.origin}/entries"
HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "tree",
    [
        f"0 0 {HASH}",
        f"00 0 {HASH}\n",
        f"0 01 {HASH}\n",
        f"0 0  {HASH}\n",
        f"63 0 {HASH}\n",
        f"-1 0 {HASH}\n",
        f"0 1 {HASH}\n0 0 {HASH}\n",
        f"0 1 {HASH}\n0 1 {HASH}\n",
        f"0 0 {HASH[:-2]}B=\n",
        f"0 0 {HASH}\r\n",
        "\n",
        f"٠ 0 {HASH}\n",
    ],
)
def test_a_malformed_tree_is_refused(tree: str) -> None:
    with pytest.raises(BundleUnreadable) as caught:
        read_bundle(with_member(TREE, tree.encode()))
    assert caught.value.code == "lines_unreadable"


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        (b"", "lines_unreadable"),
        (b"\n", "lines_unreadable"),
        (BODIES[3], "lines_unreadable"),
        (BODIES[3] + b"\n\n" + BODIES[4] + b"\n", "lines_unreadable"),
        (b"[3]\n", "entry_not_canonical"),
        (b"\xff\n", "entry_not_canonical"),
        (b"[" * 50_000 + b"\n", "entry_not_canonical"),
        (b'{"kind":"test/1"}\n', "entry_not_canonical"),
        (b'{"n":true}\n', "entry_not_canonical"),
        (b'{"n":-1}\n', "entry_not_canonical"),
        (b'{"n":1.0}\n', "entry_not_canonical"),
        (BODIES[4] + b"\n" + BODIES[3] + b"\n", "entry_misplaced"),
        (BODIES[4] + b"\n" + BODIES[4] + b"\n", "entry_misplaced"),
    ],
)
def test_malformed_entries_are_refused(entries: bytes, code: str) -> None:
    with pytest.raises((BundleUnreadable, NotProven)) as caught:
        read_bundle(with_member(ENTRIES, entries))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"format": "xunzhen-evidence/2"}, "format_unknown"),
        ({"village": "51"}, "manifest_unreadable"),
        ({"month": "2026-13"}, "manifest_unreadable"),
        ({"practice": 0}, "manifest_unreadable"),
        ({"more": 1}, "manifest_unreadable"),
        ({"visits": []}, "manifest_unreadable"),
        ({"visits": [{"visit": "v", "origin": "../x", "state": "counted"}]}, "manifest_unreadable"),
        ({"visits": [{"visit": "v", "origin": "x"}]}, "manifest_unreadable"),
        ({"visits": ["v"]}, "manifest_unreadable"),
        ({"visits": [{"visit": "v", "origin": "x", "state": "counted"}] * 2}, "visit_twice"),
        (
            {"visits": [{"visit": f"v{n}", "origin": "x", "state": "counted"} for n in range(101)]},
            "manifest_unreadable",
        ),
        ({"visits": [{"visit": "v", "origin": "other.example", "state": "counted"}]}, "member_missing"),
    ],
)
def test_a_manifest_is_exactly_what_it_should_be(change: dict[str, object], code: str) -> None:
    said = {**canonical.loads(bytes(MANIFEST)), **change}
    with pytest.raises((BundleUnreadable, NotProven)) as caught:
        read_bundle(with_member("manifest.json", canonical.dumps(said)))  # type: ignore[arg-type]
    assert caught.value.code == code
