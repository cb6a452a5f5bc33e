"""Who may call what: every route with every role, sign-in and its lock, foreign pages, sessions that end."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from county_month import PASSWORD, PEOPLE, Founded, at
from fastapi.routing import APIRoute
from sqlalchemy import select

from devices.clock import SimulatedClock
from sync.county.schema import metadata
from sync.formats.request_signature import signature_headers
from sync.web.access import PUBLIC

ROLES = {role: id for id, (_, role) in PEOPLE.items()}
FILL = {
    "rule": "BP-GRADE",
    "origin": "van-07.qingyu.example",
    "path": "000",
    "sha256": "0" * 64,
    "visit": "visit-1",
    "code": "5" * 12,
    "form": "csv",
    "list": "chronic",
    "what": "critical",
}


@pytest.fixture
async def founded(tmp_path: Path, database_url: str) -> AsyncIterator[Founded]:
    county = Founded(tmp_path, SimulatedClock(at(9, 1, 8)), database_url)
    county.van("van-07")
    yield county
    county.close()


def routes(founded: Founded) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(method, path, roles) of every route, also of included routers."""
    pending = list(founded.app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            path = route.path.replace("{path:path}", "{path}").format(**FILL)
            for method in route.methods or ():
                yield method, path, getattr(route.endpoint, "__roles__", ())
        else:
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            pending += getattr(inner, "routes", [])


def test_every_route_names_its_roles(founded: Founded) -> None:
    found = list(routes(founded))
    assert len(found) >= 20
    assert {path for _, path, named in found if not named} == set()
    known = {*ROLES, PUBLIC, "vehicle"}
    assert {role for _, _, named in found for role in named} <= known


async def test_every_route_refuses_every_role_that_is_not_named(founded: Founded) -> None:
    walked = 0
    clients = {role: await founded.signed_in(id) for role, id in ROLES.items()}
    nobody = founded.client()
    for method, path, named in routes(founded):
        if PUBLIC in named:
            continue
        answer = await nobody.request(method, path)
        assert answer.status_code == 401, (method, path, "anonymous")
        signed = signature_headers(founded.vans["van-07"].signer, method, path, b"", founded.clock.now())
        answer = await nobody.request(method, path, headers=signed)
        assert (answer.status_code == 403) is ("vehicle" not in named), (method, path, "vehicle", answer.text)
        for role, client in clients.items():
            answer = await client.request(method, path)
            if role in named:
                assert answer.status_code not in (401, 403), (method, path, role)
            else:
                assert answer.status_code == 403, (method, path, role)
            walked += 1
    assert walked >= 40


async def test_an_unnamed_route_is_refused_to_everybody(founded: Founded) -> None:
    @founded.app.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    for role in ROLES.values():
        client = await founded.signed_in(role)
        assert (await client.get("/forgotten")).status_code == 403
    assert (await founded.client().get("/forgotten")).status_code == 403


async def test_signing_in_leads_home_by_role(founded: Founded) -> None:
    homes = {"administrator": "/county/coverage", "specialist": "/specialist", "auditor": "/county/audit"}
    homes["reviewer"] = "/county/coverage"
    for role, id in ROLES.items():
        client = await founded.signed_in(id)
        assert (await client.get("/")).headers["location"] == homes[role]
    assert (await founded.client().get("/")).headers["location"] == "/sign-in"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(founded: Founded) -> None:
    answer = await founded.client().post("/sign-in", data={"account": "xu.jing", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert PASSWORD not in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_forms_of_foreign_pages_are_refused(founded: Founded, headers: dict[str, str]) -> None:
    client = await founded.signed_in("xu.jing")
    assert (await client.post("/sign-out", headers=headers)).status_code == 403
    assert (await client.get("/county/coverage")).status_code == 200
    form = {"account": "xu.jing", "password": PASSWORD}
    assert (await founded.client().post("/sign-in", data=form, headers=headers)).status_code == 403


async def test_five_failures_lock_the_account_for_15_minutes(founded: Founded) -> None:
    client = founded.client()
    for _ in range(5):
        answer = await client.post("/sign-in", data={"account": "xu.jing", "password": "wrong"})
        assert answer.status_code == 401
    answer = await client.post("/sign-in", data={"account": "xu.jing", "password": PASSWORD})
    assert answer.status_code == 401
    assert "已锁 15 分钟" in answer.text
    founded.clock.advance(15 * 60 + 1)
    answer = await client.post("/sign-in", data={"account": "xu.jing", "password": PASSWORD})
    assert answer.status_code == 303


async def test_a_right_password_forgets_the_failures_before(founded: Founded) -> None:
    accounts = founded.county.accounts
    for _ in range(3):
        for _ in range(4):
            assert accounts.verify("xu.jing", "wrong") is None
        assert accounts.verify("xu.jing", PASSWORD) is not None


@pytest.mark.parametrize("id", ["nobody", "", "xu.jing' OR 1=1 --", "许静", "x" * 5000])
async def test_unknown_accounts_get_the_same_answer_as_wrong_passwords(founded: Founded, id: str) -> None:
    answer = await founded.client().post("/sign-in", data={"account": id, "password": "x"})
    assert answer.status_code in (401, 413)
    if answer.status_code == 401:
        assert "账号或密码不对" in answer.text


async def test_a_disabled_account_and_a_new_password_end_the_session(founded: Founded) -> None:
    client, accounts = await founded.signed_in("xu.jing"), founded.county.accounts
    accounts.set_password("xu.jing", "another-password")
    assert (await client.get("/county/coverage")).status_code == 401
    await client.post("/sign-in", data={"account": "xu.jing", "password": "another-password"})
    assert (await client.get("/county/coverage")).status_code == 200
    accounts.disable("xu.jing")
    assert (await client.get("/county/coverage")).status_code == 401
    assert accounts.verify("xu.jing", "another-password") is None


async def test_signing_out(founded: Founded) -> None:
    client = await founded.signed_in("xu.jing")
    kept = client.cookies["xunzhen_session"]
    assert (await client.post("/sign-out")).headers["location"] == "/sign-in"
    assert (await client.get("/county/coverage")).status_code == 401
    thief = founded.client()
    thief.cookies.set("xunzhen_session", kept)
    assert (await thief.get("/county/coverage")).status_code == 401


async def test_a_person_without_session_is_led_to_the_sign_in_and_back(founded: Founded) -> None:
    client = founded.client()
    answer = await client.get("/county/coverage?month=2026-09", headers={"Accept": "text/html"})
    assert answer.headers["location"] == "/sign-in?next=/county/coverage%3Fmonth%3D2026-09"
    form = {"account": "xu.jing", "password": PASSWORD, "next": "/county/coverage?month=2026-09"}
    assert (await client.post("/sign-in", data=form)).headers["location"] == form["next"]


async def test_a_wrong_password_does_not_forget_where_to_go(founded: Founded) -> None:
    form = {"account": "xu.jing", "password": "wrong", "next": "/county/map"}
    answer = await founded.client().post("/sign-in", data=form)
    assert 'name="next" value="/county/map"' in answer.text
    answer = await founded.client().post("/sign-in", data={**form, "next": "//evil.example"})
    assert 'name="next" value=""' in answer.text


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nSet-Cookie: x"])
async def test_signing_in_never_leads_to_another_server(founded: Founded, target: str) -> None:
    form = {"account": "xu.jing", "password": PASSWORD, "next": target}
    answer = await founded.client().post("/sign-in", data=form)
    assert answer.headers["location"] == "/county/coverage"


async def test_who_signed_in_and_exported_stands_in_the_audit(founded: Founded) -> None:
    await founded.client().post("/sign-in", data={"account": "xu.jing", "password": "wrong"})
    client = await founded.signed_in("xu.jing")
    await client.get("/county/coverage.csv?month=2026-09")
    lines = [(line.account, line.action, line.outcome) for line in founded.county.audit.latest()]
    assert lines == [("xu.jing", "export", "done"), ("xu.jing", "sign_in", "done"), ("xu.jing", "sign_in", "refused")]
    page = await (await founded.signed_in("he.ming")).get("/county/audit")
    assert "coverage.csv 2026-09" in page.text


def test_secrets_are_made_once_and_readable_by_their_owner_only(founded: Founded) -> None:
    keys = founded.folder / "county" / "keys"
    before = {path.name: path.read_text() for path in keys.iterdir()}
    assert set(before) == {"county.key", "registry.key", "session.secret"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys.iterdir())
    founded.county.close()
    founded.app = founded.open()
    assert {path.name: path.read_text() for path in keys.iterdir()} == before


def test_no_account_but_those_that_were_made(founded: Founded) -> None:
    assert {account.id for account in founded.county.accounts.all()} == set(PEOPLE)
    for table in metadata.tables.values():
        assert PASSWORD not in repr(founded.county.database.rows(select(table))), table.name


async def test_no_browser_keeps_what_was_shown(founded: Founded) -> None:
    client = await founded.signed_in("xu.jing")
    for path in ("/county/coverage", "/county/fleet", "/county/coverage.csv", "/county/coverage.xlsx", "/api/coverage"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), path
        assert answer.headers["x-content-type-options"] == "nosniff", path


async def test_a_password_typed_as_the_account_stands_nowhere(founded: Founded) -> None:
    await founded.client().post("/sign-in", data={"account": PASSWORD, "password": "xu.jing"})
    (line,) = founded.county.audit.latest()
    assert (line.account, line.action, line.outcome) == ("unknown", "sign_in", "refused")
