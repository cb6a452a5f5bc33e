"""Delivery to the county: what is proven is stored once and countersigned; what is not changes nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from county_month import Founded, Van
from signed_posts import Post, asking, deliver_by_hand, fill, stored, upload

from sync.county.schema import checkpoints, refused_checkpoints, set_aside
from sync.formats import content_coding, wire
from sync.formats.merkle import root_of
from sync.formats.notes import Checkpoint, Note, SeedSigner, Signature
from sync.formats.request_signature import signature_headers


async def test_a_delivery_is_countersigned_after_it_is_stored(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 600)
    answer = await post.checkpoint(asking(van))
    assert (answer.status_code, answer.content) == (200, b"")
    assert founded.county.mirror.checkpoint(van.store.origin) is None
    answer = await post.entries(content_coding.encode(upload(van), "zstd"), **{"Content-Encoding": "zstd"})
    assert answer.status_code == 200
    receipt = wire.parse_signature_lines(answer.content)
    assert all(founded.county.verifier_key.verifies(van.store.checkpoint_at(601).text, line) for line in receipt)
    assert len(receipt) == 1
    assert stored(founded) == 601


async def test_everything_replayed_changes_nothing(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 300)
    first = asking(van)
    await post.checkpoint(first)
    once = await post.entries(upload(van))
    again = await post.entries(upload(van))
    assert (again.status_code, again.content) == (200, once.content)
    assert (await post.checkpoint(asking(van, old=301))).status_code == 200
    assert (await post.checkpoint(first)).status_code == 409
    assert (stored(founded), stored(founded, checkpoints)) == (301, 1)


async def test_a_part_is_kept_and_the_answer_says_where_to_go_on(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 700)
    await post.checkpoint(asking(van))
    answer = await post.entries(upload(van, packages=slice(2)))
    assert answer.status_code == 202
    assert answer.headers["content-type"].startswith(wire.MIRROR_INFO_TYPE)
    assert wire.MirrorInfo.parse(answer.content) == wire.MirrorInfo(701, 512)
    answer = await post.entries(upload(van, start=512)[:-20])
    assert answer.status_code == 400
    assert stored(founded) == 512
    assert founded.county.mirror.checkpoint(van.store.origin) is None
    assert (await post.entries(upload(van, start=512))).status_code == 200
    assert stored(founded) == 701


async def test_what_stands_at_the_county_is_the_journal(founded: Founded, van: Van, post: Post) -> None:
    for count in (5, 250, 3, 600):
        fill(van, count)
        await van.deliver()
    size = van.store.size()
    async with founded.client() as client:
        note = Note.parse((await client.get(f"/log/{van.store.origin}/checkpoint")).content)
        tiles = [
            await client.get(f"/log/{van.store.origin}/{tile.path()}")
            for tile in wire.tiles_of(size)
            if tile.level == 0
        ]
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.size, checkpoint.root) == (size, van.store.root(size))
    assert len(note.verified_by([founded.county.verifier_key, van.signer.verifier_key()])) == 2
    leaves = b"".join(tile.content for tile in tiles)
    assert root_of([leaves[place : place + 32] for place in range(0, len(leaves), 32)]) == checkpoint.root
    bundle = await post.send("GET", wire.log_path(van.store.origin, "tile/entries/000"))
    assert wire.unpack_entries(bundle.content) == list(van.store.entries(0, 256))


async def test_5000_entries_are_taken_in_a_breath(founded: Founded, van: Van) -> None:
    fill(van, 5000)
    delivered = await asyncio.wait_for(van.deliver(), 20)
    assert delivered.complete
    assert stored(founded) == 5001


async def test_two_uploads_at_once_store_every_entry_once(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 900)
    await post.checkpoint(asking(van))
    answers = await asyncio.gather(*(post.entries(upload(van)) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert stored(founded) == 901


async def test_what_cannot_be_read_is_set_aside_and_blocks_nothing(founded: Founded, van: Van, post: Post) -> None:
    bodies = [b"\xff\xfe no json", b'{"kind":"reading/1"}', b"", b'{"a":' * 5000]
    await deliver_by_hand(van.signer, post, bodies)
    assert stored(founded, set_aside) == 4
    assert founded.county.interpreter.catch_up(van.store.origin) == 0
    assert founded.county.interpreter.rebuild() == 4
    assert stored(founded, set_aside) == 4


# attacks: each is refused with its status, and nothing stands that was not there before ------------------------------


async def test_entries_before_any_checkpoint(founded: Founded, van: Van, post: Post) -> None:
    assert (await post.entries(upload(van))).status_code == 422
    assert stored(founded) == 0


async def test_an_edited_entry(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 300)
    await post.checkpoint(asking(van))
    body = bytearray(upload(van))
    body[body.index(b"seconds_ms", 4000) + 1] ^= 1
    assert (await post.entries(bytes(body))).status_code == 422
    assert stored(founded) == 0


async def test_a_rewritten_log_with_the_vehicles_own_key(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 20)
    await van.deliver()
    longer = Checkpoint(van.store.origin, 50, b"\x08" * 32).signed(van.signer)
    assert (await post.checkpoint(wire.AddCheckpoint(21, (b"\x09" * 32,), longer))).status_code == 422
    fill(van, 5)
    assert (await van.deliver()).complete
    rewritten = Checkpoint(van.store.origin, 26, b"\x07" * 32).signed(van.signer)
    assert (await post.checkpoint(wire.AddCheckpoint(26, (), rewritten))).status_code == 422
    assert stored(founded, refused_checkpoints) == 2
    fill(van, 5)
    assert not (await van.deliver()).complete, "frozen: see test_county_freezing.py"


async def test_an_old_image_of_the_disk(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 5)
    old = van.store.checkpoint_at(6)
    fill(van, 20)
    await van.deliver()
    answer = await post.checkpoint(wire.AddCheckpoint(0, (), old))
    assert (answer.status_code, wire.parse_size_body(answer.content)) == (409, 26)
    assert answer.headers["content-type"].startswith(wire.SIZE_TYPE)


async def test_another_vehicles_log(founded: Founded, van: Van, post: Post) -> None:
    other = founded.van("van-09")
    answer = await post.send("POST", wire.log_path(other.store.origin, "add-checkpoint"), bytes(asking(other)))
    assert answer.status_code == 403
    assert (await post.checkpoint(asking(other))).status_code == 400
    bundle = await post.send("GET", wire.log_path(other.store.origin, "tile/entries/000"))
    assert bundle.status_code == 403


async def test_a_checkpoint_signed_by_somebody_else(founded: Founded, van: Van, post: Post) -> None:
    forger = SeedSigner(van.store.origin, b"f" * 32)
    note = Checkpoint(van.store.origin, 1, b"\x01" * 32).signed(forger)
    assert (await post.checkpoint(wire.AddCheckpoint(0, (), note))).status_code == 403
    assert (await Post(founded, forger).checkpoint(asking(van))).status_code == 401
    assert stored(founded, checkpoints) == 0


async def test_an_unknown_and_a_revoked_vehicle(founded: Founded, van: Van, post: Post) -> None:
    stranger = SeedSigner("van-99.qingyu.example", b"s" * 32)
    assert (await Post(founded, stranger).checkpoint(asking(van))).status_code == 401
    fill(van, 5)
    assert (await van.deliver()).complete
    founded.county.fleet.revoke(van.store.origin)
    fill(van, 5)
    assert (await post.checkpoint(asking(van, old=6))).status_code == 401
    assert stored(founded) == 6


async def test_a_signature_for_another_request_or_an_old_one(founded: Founded, van: Van) -> None:
    path, body = wire.log_path(van.store.origin, "add-checkpoint"), bytes(asking(van))
    now = founded.clock.now()
    good = signature_headers(van.signer, "POST", path, body, now)
    async with founded.client() as client:
        for headers, content in (
            (good, body + b" "),
            (signature_headers(van.signer, "PUT", path, body, now), body),
            (signature_headers(van.signer, "POST", path + "?x=1", body, now), body),
            ({**good, "Signature": "van=:AAAA:"}, body),
            ({}, body),
        ):
            answer = await client.post(path, content=content, headers=headers)
            assert answer.status_code == 401, headers
        late = signature_headers(van.signer, "POST", path, body, now - timedelta(minutes=6))
        answer = await client.post(path, content=body, headers=late)
        assert (answer.status_code, answer.headers["date"]) == (401, "Tue, 01 Sep 2026 00:00:00 GMT")
        assert (await client.post(path, content=body, headers=good)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"old 0\n", b"old -1\n\nx\n", b"old 00\n\n", b"old 0\nAAAA\n\n", b"\xff" * 100, b"old 5\n\n" + b"a\n" * 40],
    ids=repr,
)
async def test_a_malformed_checkpoint(founded: Founded, van: Van, post: Post, body: bytes) -> None:
    answer = await post.send("POST", wire.log_path(van.store.origin, "add-checkpoint"), body)
    assert answer.status_code == 400
    assert stored(founded, checkpoints) == 0


@pytest.mark.parametrize("cut", [0, 1, 10, 40])
async def test_a_cut_off_head(founded: Founded, van: Van, post: Post, cut: int) -> None:
    await post.checkpoint(asking(van))
    assert (await post.entries(upload(van)[:cut])).status_code == 400
    assert stored(founded) == 0


async def test_wrong_places_and_sizes(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 300)
    await post.checkpoint(asking(van))
    for start, end in ((256, 301), (0, 300), (0, 2**62)):
        head = wire.AddEntriesHead(van.store.origin, start, end)
        answer = await post.entries(wire.add_entries_body(head, []))
        assert answer.status_code in (400, 409), (start, end)
        if answer.status_code == 409:
            assert wire.MirrorInfo.parse(answer.content) == wire.MirrorInfo(301, 0)
    assert stored(founded) == 0


async def test_bodies_that_are_too_large_or_in_a_strange_encoding(founded: Founded, van: Van, post: Post) -> None:
    await post.checkpoint(asking(van))
    bomb = content_coding.encode(b"\0" * (65 * 1024 * 1024), "zstd")
    assert (await post.entries(bomb, **{"Content-Encoding": "zstd"})).status_code == 400
    assert (await post.entries(b"x", **{"Content-Encoding": "br"})).status_code == 415
    assert (await post.entries(b"not zstd", **{"Content-Encoding": "zstd"})).status_code == 400
    assert (await post.entries(b"\0" * (17 * 1024 * 1024))).status_code == 413
    assert stored(founded) == 0


async def test_refusals_are_logged_without_names(founded: Founded, van: Van, post: Post, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="xunzhen"):
        await post.send("POST", wire.log_path(van.store.origin, "add-checkpoint"), b"nonsense")
    lines = [record.message for record in caplog.records if "request_refused" in record.message]
    assert len(lines) == 1
    assert "add-checkpoint begins with" in lines[0]


async def test_tiles_that_are_not_there(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 5)
    await van.deliver()
    async with founded.client() as client:
        for path in ("tile/0/001", "tile/0/000.p/7", "tile/64/000", "tile/0/0", "tile/0/../x", "tile/0/000.p/0"):
            assert (await client.get(f"/log/{van.store.origin}/{path}")).status_code == 404
        assert (await client.get("/log/nobody.example/checkpoint")).status_code == 404
        assert (await client.get(f"/log/{van.store.origin}/tile/entries/000.p/6")).status_code == 401


# recordings ------------------------------------------------------------

CLIP = bytes(range(256)) * 2000
NAME = sha256(CLIP).hexdigest()


async def put(post: Post, offset: int, part: bytes, complete: bool, name: str = NAME, **more: str) -> httpx.Response:
    headers = {wire.UPLOAD_OFFSET: str(offset), wire.UPLOAD_COMPLETE: wire.boolean(complete), **more}
    return await post.send("PATCH" if offset else "PUT", wire.recording_path(name), part, **headers)


async def test_a_recording_arrives_in_parts_and_is_whole(founded: Founded, post: Post) -> None:
    assert (await post.send("HEAD", wire.recording_path(NAME))).status_code == 404
    answer = await put(post, 0, CLIP[:100_000], False)
    assert (answer.status_code, answer.headers[wire.UPLOAD_OFFSET]) == (204, "100000")
    answer = await put(post, 0, CLIP[:100_000], False)
    assert (answer.status_code, answer.headers[wire.UPLOAD_OFFSET]) == (409, "100000")
    state = await post.send("HEAD", wire.recording_path(NAME))
    assert (state.headers[wire.UPLOAD_OFFSET], state.headers[wire.UPLOAD_COMPLETE]) == ("100000", "?0")
    answer = await put(post, 100_000, CLIP[100_000:], True, **{wire.UPLOAD_LENGTH: str(len(CLIP))})
    assert (answer.status_code, answer.headers[wire.UPLOAD_COMPLETE]) == (201, "?1")
    assert b"".join(founded.county.blobs.read(NAME)) == CLIP
    assert (await put(post, 0, b"other", True)).status_code == 201
    assert b"".join(founded.county.blobs.read(NAME)) == CLIP


async def test_another_hash_starts_over(founded: Founded, post: Post) -> None:
    assert (await put(post, 0, CLIP[:-1] + b"x", True)).status_code == 422
    assert not founded.county.blobs.has(NAME)
    assert (await post.send("HEAD", wire.recording_path(NAME))).status_code == 404
    assert (await put(post, 0, CLIP, True)).status_code == 201


async def test_one_vehicle_cannot_spoil_anothers_upload(founded: Founded, post: Post) -> None:
    other = Post(founded, founded.van("van-09").signer)
    await put(post, 0, CLIP[:1000], False)
    assert (await put(other, 1000, b"spoilt", False)).status_code == 409
    assert (await put(post, 1000, CLIP[1000:], True)).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {wire.UPLOAD_OFFSET: "-1"},
        {wire.UPLOAD_OFFSET: "x"},
        {wire.UPLOAD_COMPLETE: "yes"},
        {wire.UPLOAD_LENGTH: "3"},
        {wire.UPLOAD_LENGTH: "1e9"},
    ],
    ids=repr,
)
async def test_malformed_upload_fields(founded: Founded, post: Post, headers: dict[str, str]) -> None:
    answer = await post.send("PUT", wire.recording_path(NAME), CLIP[:10], **headers)
    assert answer.status_code == 400
    assert founded.county.blobs.state(post.origin, NAME) is None


async def test_names_that_are_no_hash_touch_no_file(founded: Founded, post: Post) -> None:
    for name in ("x", NAME.upper(), "..%2f..%2fcounty.db", NAME + "0"):
        assert (await post.send("PUT", f"/recordings/{name}", b"x")).status_code in (400, 401, 404)
    assert not (founded.folder / "county" / "recordings").exists()


async def test_a_recording_may_not_be_endless(founded: Founded, post: Post) -> None:
    answer = await put(post, 0, b"x", False, **{wire.UPLOAD_LENGTH: str(3 * 1024**3)})
    assert answer.status_code == 413


async def test_what_was_delivered_outlives_a_restart(founded: Founded, van: Van, post: Post) -> None:
    fill(van, 40)
    await van.deliver()
    before = founded.county.mirror.checkpoint(van.store.origin)
    founded.county.close()
    founded.app = founded.open()
    assert founded.county.mirror.checkpoint(van.store.origin) == before
    assert (await post.checkpoint(asking(van, old=41))).status_code == 200


async def test_lines_that_a_vehicle_adds_to_its_checkpoint_are_not_kept(founded: Founded, van: Van, post: Post) -> None:
    """They are nobody's word, could claim to be the province's, and as many as a note may have leave no room for it."""
    fill(van, 5)
    (own,) = van.store.checkpoint_at(van.store.size()).signatures
    ours = founded.county.verifier_key
    pretended = Signature(ours.name, ours.key_id, bytes(72))
    strange = [Signature("stranger.example", b"1234", b"%d" % n) for n in range(62)]
    asked = asking(van)
    note = Note(asked.checkpoint.text, (own, pretended, *strange))
    assert (await post.checkpoint(replace(asked, checkpoint=note))).status_code == 200
    assert (await post.entries(upload(van))).status_code == 200
    kept = Note.parse(founded.county.mirror.checkpoint(van.store.origin) or b"")
    assert kept.signatures[0] == own
    assert len(kept.verified_by([van.signer.verifier_key(), ours])) == len(kept.signatures) == 2
