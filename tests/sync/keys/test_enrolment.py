"""A new vehicle asks to be enrolled: what the county keeps, what a typed code does, what a request sent again does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from asking import CODE, ORIGIN, OTHER, VAN, ask_of, post, signed
from county_month import PASSWORD, Founded

from sync.county.enrolment import (
    MOST_OF_ADDRESS,
    MOST_WRONG_CODES,
    AskingRate,
    CodeProblem,
    CodeRefused,
    Enrolments,
    TooManyAsk,
)
from sync.county.fleet import EnrolmentRefused
from sync.county.settings import ServeSettings
from sync.formats.notes import ED25519_COSIGNATURE, SeedSigner
from sync.formats.request_signature import signature_headers
from sync.keys.key_statements import (
    SALT_BYTES,
    EnrolmentAsk,
    StatementRefused,
    code_hash,
    fingerprint,
    parse_enrolment_answer,
)


def state(answer: httpx.Response) -> str:
    return parse_enrolment_answer(answer.content)


def waiting_id(enrolments: Enrolments, origin: str = ORIGIN) -> str:
    return next(vehicle.id for vehicle in enrolments.waiting() if vehicle.origin == origin)


async def test_asked_typed_enrolled(founded: Founded, enrolments: Enrolments) -> None:
    answer = await post(founded, ask_of())
    assert (answer.status_code, state(answer)) == (202, "waiting")
    (waiting,) = enrolments.waiting()
    assert (waiting.origin, waiting.vehicle, waiting.state) == (ORIGIN, "van-07", "waiting")
    assert waiting.fingerprint == fingerprint(VAN.verifier_key())
    assert founded.county.fleet.get(ORIGIN) is None
    assert enrolments.confirm(waiting.id, "0231 9962", True, "xu.jing") == ORIGIN
    assert founded.county.fleet.verifier(ORIGIN) == VAN.verifier_key()
    registered = founded.county.registry.vehicle(ORIGIN)
    assert registered is not None
    assert registered.plate == "川A·演07"
    assert enrolments.waiting() == []
    assert state(await post(founded, ask_of())) == "enrolled"
    assert enrolments.waiting() == []


async def test_the_same_request_again_changes_nothing(founded: Founded, enrolments: Enrolments) -> None:
    asked = ask_of()
    headers = signed(founded, asked)
    for _ in range(3):
        assert (await post(founded, asked, headers)).status_code == 202
    assert len(enrolments.waiting()) == 1
    founded.clock.advance(5)
    newer = ask_of(code="11112222", salt=b"n" * SALT_BYTES)
    assert (await post(founded, newer)).status_code == 202
    founded.clock.advance(5)
    assert (await post(founded, asked, headers)).status_code == 202, "somebody sends the first one once more"
    id = waiting_id(enrolments)
    with pytest.raises(CodeRefused) as refusal:
        enrolments.confirm(id, CODE, True, "xu.jing")
    assert refusal.value.problem == CodeProblem.WRONG
    assert enrolments.confirm(id, "11112222", True, "xu.jing") == ORIGIN
    founded.clock.advance(400)
    assert (await post(founded, asked, headers)).status_code == 401, "too old by now"


async def test_the_same_request_at_the_same_moment_stands_there_once(founded: Founded, enrolments: Enrolments) -> None:
    asked = ask_of()
    answers = await asyncio.gather(*(post(founded, asked) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len(enrolments.waiting()) == 1


async def test_codes_typed_at_the_same_moment_are_all_counted(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of())
    id = waiting_id(enrolments)

    async def typed(number: int) -> CodeProblem:
        try:
            await asyncio.to_thread(enrolments.confirm, id, f"{number:08d}", True, "xu.jing")
        except CodeRefused as refusal:
            return refusal.problem
        raise AssertionError("a wrong code enrolled a vehicle")

    problems = await asyncio.gather(*(typed(number) for number in range(12)))
    (waiting,) = enrolments.waiting()
    assert (waiting.wrong_codes, waiting.state) == (MOST_WRONG_CODES, "locked")
    assert problems.count(CodeProblem.LOCKED) >= 7


async def test_who_does_not_hold_the_key_cannot_ask(founded: Founded, enrolments: Enrolments) -> None:
    asked = ask_of()
    forger = SeedSigner(ORIGIN, b"f" * 32)
    for headers in (
        {},
        signed(founded, asked, forger),
        signed(founded, ask_of(code="99999999")),
        signature_headers(VAN, "POST", "/other", bytes(asked), founded.clock.now()),
        signed(founded, asked, when=founded.clock.now() - timedelta(minutes=6)),
        signed(founded, asked, OTHER),
    ):
        async with founded.client() as client:
            answer = await client.post("/enrol", content=bytes(asked), headers=headers)
        assert answer.status_code == 401, headers
        assert "date" in answer.headers, "so that a van can correct its stamp"
    assert enrolments.waiting() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff\xff",
        b"[" * 2000,
        bytes(ask_of()).replace(b"1800", b"99999"),
        bytes(ask_of()).replace(b'"vehicle":"van-07"', b'"vehicle":""'),
        bytes(ask_of()).replace(b'"vehicle":"van-07"', b'"vehicle":"\\u0007"'),
        bytes(ask_of()).replace(b"7373", b"73", 1),
        bytes(ask_of(succeeds=ORIGIN)),
        bytes(ask_of(SeedSigner("a/b", b"v" * 32))),
        bytes(ask_of(SeedSigner(ORIGIN, b"v" * 32, ED25519_COSIGNATURE))),
    ],
)
async def test_a_malformed_request(founded: Founded, enrolments: Enrolments, body: bytes) -> None:
    headers = signature_headers(VAN, "POST", "/enrol", body, founded.clock.now())
    async with founded.client() as client:
        assert (await client.post("/enrol", content=body, headers=headers)).status_code == 400
        assert (await client.post("/enrol", content=b"x" * 5000, headers=headers)).status_code == 413
    assert enrolments.waiting() == []


def test_a_request_reads_back_as_it_was_written() -> None:
    for asked in (ask_of(), ask_of(succeeds="van-07-old.qingyu.example")):
        assert EnrolmentAsk.parse(bytes(asked)) == asked
    with pytest.raises(StatementRefused):
        EnrolmentAsk.parse(bytes(ask_of()) + b" ")


def test_only_digits_count_and_the_hash_is_bound_to_the_key() -> None:
    salt = b"s" * SALT_BYTES
    assert code_hash("0231 9962", salt, VAN.verifier_key()) == code_hash(CODE, salt, VAN.verifier_key())
    assert code_hash(CODE, salt, VAN.verifier_key()) != code_hash(CODE, salt, OTHER.verifier_key())
    assert code_hash(CODE, salt, VAN.verifier_key()) != code_hash(CODE, b"t" * SALT_BYTES, VAN.verifier_key())


async def test_wrong_codes_are_counted_and_lock(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of())
    id = waiting_id(enrolments)
    left = []
    for number in range(MOST_WRONG_CODES):
        with pytest.raises(CodeRefused) as refusal:
            enrolments.confirm(id, f"{number:08d}", True, "xu.jing")
        left.append((refusal.value.problem, int(refusal.value.facts["left"])))
    assert left == [*((CodeProblem.WRONG, n) for n in (4, 3, 2, 1)), (CodeProblem.LOCKED, 0)]
    with pytest.raises(CodeRefused) as refusal:
        enrolments.confirm(id, CODE, True, "xu.jing")
    assert refusal.value.problem == CodeProblem.LOCKED
    assert founded.county.fleet.get(ORIGIN) is None
    assert state(await post(founded, ask_of())) == "locked"
    founded.clock.advance(1)
    assert state(await post(founded, ask_of(code="12345678", salt=b"n" * SALT_BYTES))) == "waiting"
    assert enrolments.confirm(id, "12345678", True, "xu.jing") == ORIGIN


async def test_what_is_no_try_is_not_counted(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of())
    id = waiting_id(enrolments)
    for code, compared, problem in (
        ("1234567", True, CodeProblem.NOT_DIGITS),
        ("abcdefgh", True, CodeProblem.NOT_DIGITS),
        ("１２３４５６７８", True, CodeProblem.NOT_DIGITS),
        (CODE, False, CodeProblem.NOT_COMPARED),
    ):
        with pytest.raises(CodeRefused) as refusal:
            enrolments.confirm(id, code, compared, "xu.jing")
        assert refusal.value.problem == problem
    (waiting,) = enrolments.waiting()
    assert waiting.wrong_codes == 0
    with pytest.raises(CodeRefused) as refusal:
        enrolments.confirm("0" * 64, CODE, True, "xu.jing")
    assert refusal.value.problem == CodeProblem.GONE


async def test_a_code_runs_out(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of(valid_s=600))
    founded.clock.advance(601)
    (waiting,) = enrolments.waiting()
    assert waiting.state == "expired"
    with pytest.raises(CodeRefused) as refusal:
        enrolments.confirm(waiting.id, CODE, True, "xu.jing")
    assert refusal.value.problem == CodeProblem.EXPIRED
    assert state(await post(founded, ask_of(valid_s=600))) == "expired"
    founded.clock.advance(3 * 3600)
    await post(founded, ask_of(OTHER))
    assert [waiting.origin for waiting in enrolments.waiting()] == [OTHER.name], "and is forgotten"


async def test_two_vans_at_once_are_told_apart(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of())
    await post(founded, ask_of(OTHER, code="77778888", salt=b"o" * SALT_BYTES))
    with pytest.raises(CodeRefused) as refusal:
        enrolments.confirm(waiting_id(enrolments), "77778888", True, "xu.jing")
    assert (refusal.value.problem, refusal.value.facts) == (CodeProblem.OTHER_VAN, {"left": "4", "what": "van-09"})
    assert enrolments.confirm(waiting_id(enrolments, OTHER.name), "77778888", True, "xu.jing") == OTHER.name
    assert enrolments.confirm(waiting_id(enrolments), CODE, True, "xu.jing") == ORIGIN
    assert len(founded.county.fleet.all()) == 2


async def test_two_keys_for_one_origin_are_shown_as_that(founded: Founded, enrolments: Enrolments) -> None:
    twin = SeedSigner(ORIGIN, b"t" * 32)
    asked = ask_of(twin, code="77778888", salt=b"o" * SALT_BYTES)
    await post(founded, ask_of())
    assert (await post(founded, asked, signed(founded, asked, twin))).status_code == 202
    assert [waiting.twin for waiting in enrolments.waiting()] == [True, True]
    assert enrolments.confirm(waiting_id_of(enrolments, VAN), CODE, True, "xu.jing") == ORIGIN
    answer = await post(founded, asked, signed(founded, asked, twin))
    assert (answer.status_code, state(answer)) == (409, "other_key")
    with pytest.raises(EnrolmentRefused, match="new origin"):
        enrolments.confirm(waiting_id_of(enrolments, twin), "77778888", True, "xu.jing")
    assert founded.county.fleet.verifier(ORIGIN) == VAN.verifier_key()


def waiting_id_of(enrolments: Enrolments, signer: SeedSigner) -> str:
    return next(vehicle.id for vehicle in enrolments.waiting() if vehicle.vkey == str(signer.verifier_key()))


async def test_what_an_address_asks_is_bounded_and_its_stalest_request_goes(
    founded: Founded, enrolments: Enrolments
) -> None:
    for number in range(MOST_OF_ADDRESS + 5):
        signer = SeedSigner(f"van-{number}.qingyu.example", bytes([number]) * 32)
        asked = ask_of(signer)
        assert (await post(founded, asked, signed(founded, asked, signer))).status_code == 202
        founded.clock.advance(1)
    kept = {vehicle.origin for vehicle in enrolments.waiting()}
    assert kept == {f"van-{number}.qingyu.example" for number in range(5, MOST_OF_ADDRESS + 5)}


def flood(enrolments: Enrolments, founded: Founded, count: int, address: str, first: int = 0) -> None:
    plain = ask_of(VAN)
    for number in range(first, first + count):
        signer = SeedSigner(f"flood-{number}.example", number.to_bytes(32, "big"))
        enrolments.ask(replace(plain, key=signer.verifier_key()), founded.clock.now(), address)


def test_nobody_keeps_a_county_s_new_van_from_asking(
    founded: Founded, enrolments: Enrolments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is full, by many addresses; a van asks, and whatever comes then does not drop it."""
    monkeypatch.setattr("sync.county.enrolment.MOST_WAITING", 24)
    monkeypatch.setattr("sync.county.enrolment.MOST_OF_ADDRESS", 4)
    for place in range(6):
        flood(enrolments, founded, 4, f"198.51.100.{place}", 100 * place)
    founded.clock.advance(1)
    assert enrolments.ask(ask_of(), founded.clock.now(), "10.9.8.7") == "waiting"
    founded.clock.advance(60)
    for place in range(6):
        flood(enrolments, founded, 6, f"203.0.113.{place}", 10_000 + 100 * place)
    assert len(enrolments.waiting()) == 24
    assert enrolments.confirm(waiting_id(enrolments), CODE, True, "xu.jing") == ORIGIN


async def test_behind_a_proxy_each_caller_has_limits_of_his_own(founded: Founded) -> None:
    """Without the setting all stand under the proxy's address; with it nobody can pass for another."""

    async def asked(forwarded: str) -> str:
        request = ask_of()
        headers = {**signed(founded, request), "X-Forwarded-For": forwarded}
        assert (await post(founded, request, headers)).status_code == 202
        (waiting,) = founded.county.enrolments.waiting()
        founded.county.enrolments.dismiss(waiting.id)
        return waiting.address

    assert await asked("192.0.2.7") == "127.0.0.1"
    behind = founded.county.settings.model_copy(update={"serve": ServeSettings(trusted_proxies=("127.0.0.1",))})
    founded.app.state.county = replace(founded.county, settings=behind)
    assert await asked("192.0.2.7") == "192.0.2.7"
    assert await asked("10.0.0.1, 192.0.2.8") == "192.0.2.8"


def test_an_address_may_ask_so_often_and_no_more(founded: Founded) -> None:
    rate = AskingRate(founded.clock, per_minute=30)
    for _ in range(30):
        rate.take("10.0.0.1")
    with pytest.raises(TooManyAsk) as refusal:
        rate.take("10.0.0.1")
    assert refusal.value.retry_after_s == 30
    rate.take("10.0.0.2")
    founded.clock.advance(3)
    rate.take("10.0.0.1")
    for number in range(2 * AskingRate.MOST_ADDRESSES):
        rate.take(f"address {number}")
    assert len(rate._full) == AskingRate.MOST_ADDRESSES


# the page -------------------------------------------------------------------------------------------------------------


async def signed_in(founded: Founded, who: str) -> httpx.AsyncClient:
    client = founded.client()
    await client.post("/sign-in", data={"account": who, "password": PASSWORD})
    return client


async def test_only_an_administrator_enrols_and_revokes(founded: Founded, enrolments: Enrolments) -> None:
    await post(founded, ask_of())
    id = waiting_id(enrolments)
    forms = {
        "enrol": {"id": id, "code": CODE, "compared": "yes"},
        "dismiss": {"id": id},
        "revoke": {"origin": ORIGIN, "size": "0", "reason": "sold"},
    }
    auditor = await signed_in(founded, "he.ming")
    async with founded.client() as nobody:
        for path, form in forms.items():
            assert (await auditor.post(f"/county/fleet/{path}", data=form)).status_code == 403
            assert (await nobody.post(f"/county/fleet/{path}", data=form)).status_code == 401
    page = await auditor.get("/county/fleet")
    assert "van-07" in page.text
    assert '<form method="post" action="/county/fleet/enrol"' not in page.text
    await auditor.aclose()
    administrator = await signed_in(founded, "xu.jing")
    answer = await administrator.post("/county/fleet/enrol", data={**forms["enrol"], "code": "00000000"})
    assert answer.status_code == 303
    assert "said-problem_wrong" in (await administrator.get("/county/fleet")).text
    await administrator.post("/county/fleet/enrol", data=forms["enrol"])
    assert "said-done_enrolled" in (await administrator.get("/county/fleet")).text
    await administrator.post("/county/fleet/revoke", data={**forms["revoke"], "size": "many"})
    assert "条数要写成整数" in (await administrator.get("/county/fleet")).text
    await administrator.post("/county/fleet/revoke", data={**forms["revoke"], "size": "7000"})
    assert "不能是 7000" in (await administrator.get("/county/fleet")).text
    await administrator.post("/county/fleet/revoke", data={**forms["revoke"], "reason": " "})
    assert "Say why, in 2 to 200 characters" in (await administrator.get("/county/fleet?lang=en")).text
    assert founded.county.fleet.verifier(ORIGIN) is not None
    await administrator.post("/county/fleet/revoke", data=forms["revoke"])
    assert founded.county.fleet.verifier(ORIGIN) is None
    await administrator.aclose()
    noted = [(line.account, line.action, line.outcome) for line in founded.county.audit.latest(7)]
    assert noted[::-1] == [
        ("xu.jing", "sign_in", "done"),
        ("xu.jing", "enrol", "refused"),
        ("xu.jing", "enrol", "done"),
        *[("xu.jing", "revoke", "refused")] * 3,
        ("xu.jing", "revoke", "done"),
    ]
