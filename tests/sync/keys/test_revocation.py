"""Vehicles that the county knows: a key revoked, a journal that goes on under a new one, one key in one role."""

from __future__ import annotations

import pytest
from asking import CODE, ORIGIN, OTHER, VAN, post, signed
from county_month import Founded
from sqlalchemy import insert

from sync.county.enrolment import Enrolments
from sync.county.fleet import EnrolmentRefused, KeyNotValid
from sync.county.schema import vehicles
from sync.formats.notes import SeedSigner
from sync.formats.records import Draft
from sync.keys.key_statements import SALT_BYTES, EnrolmentAsk, code_hash


def test_revoked_at_a_size(founded: Founded) -> None:
    fleet = founded.county.fleet
    fleet.enrol(ORIGIN, str(VAN.verifier_key()))
    for reason, size, said in ((" ", None, "say why"), ("gestohlen", 1, "0 to 0"), ("x" * 201, None, "200 letters")):
        with pytest.raises(EnrolmentRefused, match=said):
            fleet.revoke(ORIGIN, reason, size)
    with pytest.raises(EnrolmentRefused, match="not enrolled"):
        fleet.revoke("van-99.qingyu.example", "stolen")
    assert fleet.key_at(ORIGIN, 50) == VAN.verifier_key()
    revoked = fleet.revoke(ORIGIN, "stolen").revoked
    assert revoked is not None
    assert (revoked.size, revoked.reason) == (0, "stolen")
    assert (fleet.verifier(ORIGIN), fleet.request_key(ORIGIN)) == (None, None)
    assert fleet.key_at(ORIGIN, 0) == VAN.verifier_key()
    with pytest.raises(KeyNotValid, match="revoked"):
        fleet.key_at(ORIGIN, 1)
    with pytest.raises(EnrolmentRefused, match="revoked already"):
        fleet.revoke(ORIGIN, "again")


async def test_what_came_before_a_revocation_stays_and_may_still_be_completed(founded: Founded) -> None:
    van = founded.van("van-07")
    van.store.commit_now(*(Draft("clock/1", {"seconds_ms": n, "source": "gnss"}) for n in range(9)))
    assert (await van.deliver()).complete
    fleet, origin = founded.county.fleet, van.store.origin
    fleet.revoke(origin, "sold", 6)
    assert fleet.key_at(origin, 6) == van.signer.verifier_key()
    with pytest.raises(KeyNotValid):
        fleet.key_at(origin, 7)
    with pytest.raises(EnrolmentRefused, match="0 to 6"):
        fleet.revoke(origin, "sold", 7)
    assert fleet.revoke(origin, "sold earlier", 3).revoked is not None
    van.store.commit_now(Draft("clock/1", {"seconds_ms": 1, "source": "gnss"}))
    assert not (await van.deliver()).complete
    assert founded.county.mirror.log(origin).mirror_size == 10


async def test_a_journal_goes_on_under_a_new_origin(founded: Founded, enrolments: Enrolments) -> None:
    fleet = founded.county.fleet
    fleet.enrol(ORIGIN, str(VAN.verifier_key()), "van-07", "川A·演07")
    second = SeedSigner("van-07-2.qingyu.example", b"2" * 32)
    asked = EnrolmentAsk(
        second.verifier_key(),
        "van-07",
        "川A·演07",
        b"s" * SALT_BYTES,
        code_hash(CODE, b"s" * SALT_BYTES, second.verifier_key()),
        1800,
        ORIGIN,
    )
    assert (await post(founded, asked, signed(founded, asked, second))).status_code == 202
    (waiting,) = enrolments.waiting()
    assert waiting.succeeds == ORIGIN
    enrolments.confirm(waiting.id, CODE, True, "xu.jing")
    before, after = fleet.get(ORIGIN), fleet.get(second.name)
    assert before is not None
    assert after is not None
    assert before.revoked is not None
    assert (after.succeeds, after.vehicle) == (ORIGIN, before.vehicle)
    third = SeedSigner("van-07-3.qingyu.example", b"3" * 32)
    with pytest.raises(EnrolmentRefused, match="already"):
        fleet.enrol(third.name, str(third.verifier_key()), succeeds=ORIGIN)
    fleet.enrol(third.name, str(third.verifier_key()), succeeds=second.name)
    for origin in (ORIGIN, second.name, third.name):
        assert fleet.lineage(origin) == (ORIGIN, second.name, third.name)
    with pytest.raises(EnrolmentRefused, match="never enrolled"):
        fleet.enrol(OTHER.name, str(OTHER.verifier_key()), succeeds="van-99.qingyu.example")


def test_one_key_has_one_role(founded: Founded) -> None:
    fleet = founded.county.fleet
    fleet.enrol(ORIGIN, str(VAN.verifier_key()))
    same = SeedSigner("van-08.qingyu.example", b"v" * 32)
    with pytest.raises(EnrolmentRefused, match="known as one of van-07"):
        fleet.enrol(same.name, str(same.verifier_key()))
    for role, key in (("the county", founded.county.verifier_key), ("registry", founded.county.registry.verifier_key)):
        clone = type(key)("van-08.qingyu.example", 1, key.public_key)
        with pytest.raises(EnrolmentRefused, match=role):
            fleet.enrol(clone.name, str(clone))
    registry = SeedSigner("registry.county.qingyu.example", b"r" * 32)
    with pytest.raises(EnrolmentRefused, match="host name"):
        fleet.enrol(registry.name, str(registry.verifier_key()))


def test_vehicles_of_before_are_carried_into_the_registry(founded: Founded) -> None:
    now = founded.clock.now()
    row = {"vkey": str(VAN.verifier_key()), "vehicle": "van-07", "plate": "川A", "enrolled_at": now, "revoked_at": None}
    other = {**row, "origin": OTHER.name, "vkey": str(OTHER.verifier_key()), "revoked_at": now}
    with founded.county.database.write() as connection:
        connection.execute(insert(vehicles), [{**row, "origin": ORIGIN}, other])
    fleet = founded.county.fleet
    assert fleet.get(ORIGIN) is None
    assert fleet.carry_over() == 3
    assert fleet.carry_over() == 0
    assert fleet.verifier(ORIGIN) == VAN.verifier_key()
    assert fleet.verifier(OTHER.name) is None
    known = fleet.get(ORIGIN)
    assert known is not None
    assert known.enrolled_at == now
