"""The tree against the reference data of Certificate Transparency, and proofs that fail when any bit is changed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.formats.merkle import (
    EMPTY_ROOT,
    Frontier,
    ReadSubtree,
    complete_subtrees,
    consistency_proof,
    inclusion_proof,
    is_subtree,
    leaf_hash,
    root_of,
    subtree_proof,
    subtree_root,
    verify_consistency,
    verify_inclusion,
    verify_subtree,
)

# google/certificate-transparency, merkletree test data: eight leaves and the roots of the first 1..8 of them.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}

HASHES = [leaf_hash(entry) for entry in LEAVES]
MANY = [leaf_hash(number.to_bytes(2, "big")) for number in range(700)]


def reader(leaves: Sequence[bytes]) -> ReadSubtree:
    """Subtree hashes by the definition of RFC 6962, without what the journal keeps."""

    def read(level: int, index: int) -> bytes:
        assert (index + 1) << level <= len(leaves), "only complete subtrees are asked for"
        return root_of(leaves[index << level : (index + 1) << level])

    return read


def test_roots_of_the_reference_data() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of([]) == EMPTY_ROOT
    assert [root_of(HASHES[:size]).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize("case", INCLUSION)
def test_inclusion_proofs_of_the_reference_data(case: tuple[int, int]) -> None:
    index, size = case
    proof = inclusion_proof(index, size, reader(HASHES))
    assert [part.hex() for part in proof] == INCLUSION[case]
    assert verify_inclusion(index, HASHES[index], size, bytes.fromhex(ROOTS[size - 1]), proof)


@pytest.mark.parametrize("case", CONSISTENCY)
def test_consistency_proofs_of_the_reference_data(case: tuple[int, int]) -> None:
    old, size = case
    proof = consistency_proof(old, size, reader(HASHES))
    assert [part.hex() for part in proof] == CONSISTENCY[case]
    assert verify_consistency(old, bytes.fromhex(ROOTS[old - 1]), size, bytes.fromhex(ROOTS[size - 1]), proof)


@given(st.data())
def test_every_subtree_is_proven_and_no_changed_bit_passes(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(
        st.sampled_from([end for end in range(start + 1, min(size, start + 257) + 1) if is_subtree(start, end)])
    )
    proof = subtree_proof(start, end, size, reader(MANY))
    subtree, root = root_of(MANY[start:end]), root_of(MANY[:size])
    assert verify_subtree(start, end, subtree, size, root, proof)
    parts = [subtree, root, *proof]
    chosen = data.draw(st.integers(0, len(parts) - 1))
    bit = data.draw(st.integers(0, 255))
    parts[chosen] = (int.from_bytes(parts[chosen], "big") ^ 1 << bit).to_bytes(32, "big")
    assert not verify_subtree(start, end, parts[0], size, parts[1], parts[2:])


@given(st.integers(1, 300), st.data())
def test_proofs_do_not_fit_elsewhere(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(index, size, reader(MANY)), root_of(MANY[:size])
    assert not verify_inclusion(index, MANY[index], size, root, [*proof, bytes(32)])
    assert not proof or not verify_inclusion(index, MANY[index], size, root, proof[:-1])
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index) if size > 1 else st.just(1))
    assert not verify_inclusion(other, MANY[index], size, root, proof)
    old = data.draw(st.integers(1, size))
    grown = consistency_proof(old, size, reader(MANY))
    assert verify_consistency(old, root_of(MANY[:old]), size, root, grown)
    assert old == size or not verify_consistency(old, root_of(MANY[1 : old + 1]), size, root, grown)


def test_empty_tree_is_consistent_with_every_tree_by_an_empty_proof_only() -> None:
    root = root_of(MANY[:3])
    assert verify_consistency(0, EMPTY_ROOT, 3, root, [])
    assert verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not verify_consistency(0, EMPTY_ROOT, 3, root, [root])
    assert not verify_consistency(0, root, 3, root, [])
    assert not verify_consistency(0, EMPTY_ROOT, 0, root, [])
    assert not verify_consistency(4, root, 3, root, [])


@given(st.integers(0, 700), st.integers(0, 60))
def test_frontier_grows_from_any_size_to_the_same_root(size: int, more: int) -> None:
    kept: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for index, leaf in enumerate(MANY[:size]):
        kept[0, index] = leaf
        kept.update({(level, at): hashed for level, at, hashed in frontier.append(leaf)})
    again = Frontier.read(size, lambda level, at: kept[level, at])
    for leaf in MANY[size : size + more]:
        again.append(leaf)
    assert again.root() == root_of(MANY[: size + more])
    assert subtree_root(0, size, lambda level, at: kept[level, at]) == root_of(MANY[:size])
    assert frontier.size == size


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_complete_subtrees_cover_a_range_without_overlap(start: int, count: int) -> None:
    covered = [
        n
        for level, index in complete_subtrees(start, start + count)
        for n in range(index << level, (index + 1) << level)
    ]
    assert covered == list(range(start, start + count))


def test_what_is_no_subtree_is_refused() -> None:
    with pytest.raises(ValueError, match="no subtree"):
        subtree_proof(1, 3, 8, reader(HASHES))
    with pytest.raises(ValueError, match="no subtree"):
        consistency_proof(9, 8, reader(HASHES))
    with pytest.raises(ValueError, match="subtrees"):
        Frontier(3, [bytes(32)])
