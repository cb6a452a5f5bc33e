"""A log that was rewritten is frozen with evidence that anybody can check; an innocent fault freezes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from county_month import Founded, Van
from hypothesis import given
from hypothesis import strategies as st
from signed_posts import Post, asking, fill, stored, upload
from sqlalchemy import select

from sync.county.__main__ import main
from sync.county.fleet_view import fleet_view
from sync.county.freezing import (
    NOT_LINKED,
    SAME_SIZE,
    THEIR_PREFIX,
    UnfreezingRefused,
    evidence_of,
    fork_shown,
    frozen,
    unfreeze,
)
from sync.county.schema import checkpoints, entries, logs, refused_checkpoints
from sync.formats import wire
from sync.formats.merkle import consistency_proof, leaf_hash, root_of
from sync.formats.notes import Checkpoint, SeedSigner
from sync.formats.records import Draft
from sync.record.store import Store
from tests.sync.formats.test_merkle import reader


def rewritten(founded: Founded, van: Van, size: int) -> Store:
    """The vehicle's disk of an earlier day, restored and gone on otherwise: another journal, the same key."""
    founded.clock.advance(3600)
    other = Store.open(founded.folder / "restored", van.signer.name, van.signer, founded.clock, vehicle="van-07")
    other.commit_now(*(Draft("clock/1", {"seconds_ms": n, "source": "ntp"}) for n in range(size - other.size())))
    return other


async def send_rewritten(post: Post, other: Store, old: int, size: int) -> int:
    proof = tuple(other.consistency_proof(old, size)) if old <= size else ()
    answer = await post.checkpoint(wire.AddCheckpoint(old, proof, other.checkpoint_at(size)))
    return answer.status_code


@pytest.mark.parametrize(
    ("delivered", "old", "size", "shows"),
    [
        (26, 26, 26, SAME_SIZE),
        (26, 0, 26, SAME_SIZE),
        (26, 0, 20, SAME_SIZE),
        (26, 20, 21, SAME_SIZE),
        (26, 10, 16, SAME_SIZE),
        (26, 26, 40, THEIR_PREFIX),
        (16, 16, 40, NOT_LINKED),
    ],
)
async def test_a_rewritten_log_is_frozen(
    founded: Founded, van: Van, post: Post, delivered: int, old: int, size: int, shows: str
) -> None:
    fill(van, delivered - 1)
    await van.deliver()
    other = rewritten(founded, van, 40)
    before = (stored(founded), stored(founded, checkpoints), founded.county.mirror.checkpoint(van.store.origin))
    assert await send_rewritten(post, other, old, size) == 422
    assert (stored(founded), stored(founded, checkpoints), founded.county.mirror.checkpoint(van.store.origin)) == before
    (evidence,) = evidence_of(founded.county.database, van.store.origin)
    assert evidence.shows == shows
    assert bytes(evidence.refused) == bytes(other.checkpoint_at(size))
    assert evidence.holds(van.signer.verifier_key()) is (shows != NOT_LINKED)
    assert ("convince nobody else" in evidence.reason) is (shows == NOT_LINKED)
    assert not evidence.holds(SeedSigner(van.store.origin, b"x" * 32).verifier_key())
    kept = frozen(founded.county.database, van.store.origin)
    assert kept is not None
    assert (kept.at, kept.reason) == (founded.clock.now(), evidence.reason)
    other.close()


async def test_nothing_more_is_taken_of_a_frozen_log_until_a_person_says_so(
    founded: Founded, van: Van, post: Post
) -> None:
    fill(van, 25)
    await van.deliver()
    other = rewritten(founded, van, 40)
    await send_rewritten(post, other, 26, 40)
    other.close()
    fill(van, 10)
    answer = await post.checkpoint(asking(van, old=26))
    assert answer.status_code == 403
    assert "frozen since 2026-09-01 01:00 UTC" in answer.text
    assert (await post.entries(upload(van, end=26))).status_code == 403
    assert not (await van.deliver()).complete
    assert stored(founded) == 26
    another = founded.van("van-09")
    assert (await another.deliver()).complete

    database, origin = founded.county.database, van.store.origin
    for reason in ("", " x "):
        with pytest.raises(UnfreezingRefused, match="say in"):
            unfreeze(database, origin, reason)
    assert unfreeze(database, origin, "数据盘已更换,核对无误").reason.startswith("size 40 does not extend")
    with pytest.raises(UnfreezingRefused, match="not frozen"):
        unfreeze(database, origin, "once more")
    van.uploader.retry_parked("journal")
    assert (await van.deliver()).complete
    assert stored(founded) == 36 + another.store.size()
    assert len(evidence_of(database, origin)) == 1, "evidence stays"


async def test_an_innocent_fault_freezes_nothing(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 25)
    await van.deliver()
    old = van.store.checkpoint_at(20)
    fill(van, 30)
    good = asking(van, old=26)
    short = wire.AddCheckpoint(26, good.proof[:-1], good.checkpoint)
    long = wire.AddCheckpoint(26, (*good.proof, bytes(32)), good.checkpoint)
    damaged = wire.AddCheckpoint(26, (*good.proof[:-1], bytes(32)), good.checkpoint)
    statuses = [
        (await post.checkpoint(wire.AddCheckpoint(0, (), old))).status_code,
        (await post.checkpoint(asking(van, old=20))).status_code,
        (await post.checkpoint(asking(van, old=0))).status_code,
        *[(await post.checkpoint(asked)).status_code for asked in (short, long, damaged)],
    ]
    assert statuses == [409, 409, 409, 422, 422, 422]
    assert frozen(founded.county.database, van.store.origin) is None
    assert evidence_of(founded.county.database, van.store.origin) == []
    assert stored(founded, refused_checkpoints) == 1, "kept, once"
    assert (await van.deliver()).complete


async def test_a_vehicle_that_repeats_itself_fills_no_disk(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 25)
    await van.deliver()
    note = Checkpoint(van.store.origin, 26, b"\x07" * 32).signed(van.signer)
    for _ in range(3):
        assert (await post.checkpoint(wire.AddCheckpoint(26, (), note))).status_code in (403, 422)
        unfreeze(founded.county.database, van.store.origin, "again")
        await post.checkpoint(wire.AddCheckpoint(26, (), note))
    assert stored(founded, refused_checkpoints) == 1


async def test_broken_proofs_sent_first_do_not_keep_the_evidence_out(
    founded: Founded, van: Van, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only looks like a broken proof is bounded, and may be the very checkpoint that is proven false later."""
    monkeypatch.setattr("sync.county.freezing.MOST_REFUSED_KEPT", 2)
    fill(van, 25)
    await van.deliver()
    other = rewritten(founded, van, 40)
    for size in (38, 39, 40):
        broken = wire.AddCheckpoint(26, (bytes(32),), other.checkpoint_at(size))
        assert (await post.checkpoint(broken)).status_code == 422
    assert stored(founded, refused_checkpoints) == 2
    for n, size in enumerate((39, 40), 1):  # one that is kept already, one for which there was no room
        assert await send_rewritten(post, other, 26, size) == 422
        assert len(evidence_of(founded.county.database, van.store.origin)) == n
        unfreeze(founded.county.database, van.store.origin, "again")
    assert all(one.holds(van.signer.verifier_key()) for one in evidence_of(founded.county.database, van.store.origin))
    other.close()


async def test_the_command_line_lifts_it_and_the_audit_has_the_reason(
    founded: Founded, van: Van, post: Post, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(van, 25)
    await van.deliver()
    note = Checkpoint(van.store.origin, 26, b"\x07" * 32).signed(van.signer)
    await post.checkpoint(wire.AddCheckpoint(26, (), note))
    settings = tmp_path / "county.toml"
    settings.write_text(
        f'name = "青峪县"\ndata = "county"\norigin = "county.qingyu.example"\ndatabase = "{founded.database}"\n'
    )
    thaw = ["--settings", str(settings), "unfreeze", van.store.origin, "--reason"]
    assert main([*thaw, "数据盘核对无误"]) == 0
    assert frozen(founded.county.database, van.store.origin) is None
    (line,) = [line for line in founded.county.audit.latest() if line.action == "unfreeze"]
    assert line.what == f"{van.store.origin}: 数据盘核对无误"
    assert main([*thaw, "once more"]) == 1
    assert "is not frozen" in capsys.readouterr().err


async def test_an_administrator_lifts_it_on_the_page(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 25)
    await van.deliver()
    other = rewritten(founded, van, 40)
    await send_rewritten(post, other, 26, 40)
    other.close()
    origin, page = van.store.origin, "/county/fleet"
    form = {"origin": origin, "reason": "旧盘恢复,已换回原盘"}
    auditor = await founded.signed_in("he.ming")
    shown = (await auditor.get(page)).text
    assert "车签出的 40 条，开头不是县里的 26 条" in shown
    assert "does not extend" not in shown, "no English reason on a Chinese page"
    assert "/county/fleet/unfreeze" not in shown
    assert "do not begin with the county" in (await auditor.get(f"{page}?lang=en")).text
    assert (await auditor.post(f"{page}/unfreeze", data=form)).status_code == 403
    await auditor.aclose()

    administrator = await founded.signed_in("xu.jing")
    assert "/county/fleet/unfreeze" in (await administrator.get(page)).text
    await administrator.post(f"{page}/unfreeze", data={**form, "reason": "x"})
    assert "said-problem_unfreeze_reason" in (await administrator.get(page)).text
    assert frozen(founded.county.database, origin) is not None
    await administrator.post(f"{page}/unfreeze", data=form)
    assert "said-done_unfrozen" in (await administrator.get(page)).text
    assert frozen(founded.county.database, origin) is None
    await administrator.post(f"{page}/unfreeze", data=form)
    assert "said-problem_not_frozen" in (await administrator.get(page)).text
    await administrator.aclose()
    noted = [(line.account, line.outcome) for line in founded.county.audit.latest() if line.action == "unfreeze"]
    assert noted == [("xu.jing", "refused"), ("xu.jing", "done"), ("xu.jing", "refused")]
    (done,) = [line for line in founded.county.audit.latest() if (line.action, line.outcome) == ("unfreeze", "done")]
    assert "旧盘恢复,已换回原盘" in done.what


async def test_the_page_shows_the_serial_numbers_of_what_is_on_board(founded: Founded, van: Van) -> None:
    def attached(device: str, **facts: str) -> Draft:
        said = {"device": device, "driver": "contec_ecg", "event": "attached", "facts": facts}
        return Draft("device_event/1", said)

    van.store.commit_now(attached("ecg-1", serial="ECG-OLD-1"), attached("bp-1", serial="BP-0042"), attached("scale-1"))
    founded.clock.advance(60)
    van.store.commit_now(attached("ecg-1", serial="ECG-NEW-2"))
    await van.deliver()
    (line,) = fleet_view(founded.county.database, founded.county.fleet)
    assert [(asset.device, asset.serial) for asset in line.assets] == [("bp-1", "BP-0042"), ("ecg-1", "ECG-NEW-2")]
    assert line.assets[1].at == founded.clock.now()
    auditor = await founded.signed_in("he.ming")
    shown = (await auditor.get("/county/fleet")).text
    await auditor.aclose()
    assert "ECG-NEW-2" in shown
    assert "ECG-OLD-1" not in shown


async def test_what_was_frozen_stays_so_over_a_restart(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 25)
    await van.deliver()
    note = Checkpoint(van.store.origin, 26, b"\x07" * 32).signed(van.signer)
    await post.checkpoint(wire.AddCheckpoint(26, (), note))
    founded.county.close()
    founded.app = founded.open()
    assert (await post.checkpoint(asking(van, old=26))).status_code == 403
    rows = founded.county.database.rows(select(logs.c.frozen_reason).where(logs.c.frozen_at.is_not(None)))
    assert len(rows) == 1
    assert stored(founded, entries) == 26


@given(st.integers(1, 120), st.integers(1, 120), st.integers(0, 119), st.data())
def test_only_a_tree_with_other_entries_is_called_rewritten(a: int, b: int, place: int, data: st.DataObject) -> None:
    old, size = sorted((a, b))
    theirs = [leaf_hash(b"%d" % n) for n in range(size)]
    ours = list(theirs[:old])
    changed = place < old
    if changed:
        ours[place] = leaf_hash(b"another")
    proof = consistency_proof(old, size, reader(theirs))
    shows = fork_shown(old, root_of(ours), size, root_of(theirs), proof)
    assert (shows is not None) == (changed and old < size)
    if proof and not changed:
        damaged = [*proof]
        damaged[data.draw(st.integers(0, len(proof) - 1))] = leaf_hash(b"damaged")
        assert fork_shown(old, root_of(ours), size, root_of(theirs), proof[:-1]) is None
        found = fork_shown(old, root_of(ours), size, root_of(theirs), damaged)
        assert found is None or (found == NOT_LINKED and old & (old - 1) == 0)
