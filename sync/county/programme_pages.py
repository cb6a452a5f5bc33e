"""The page "Lists": numbers, red values closed in time, sheets; names only for a role and a reason, and noted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from sync.county.pages import MOST_FORM_BYTES, NOT_KEPT, NUMBER_READERS, Practice, form_of, practice_of, render
from sync.county.programme_lists import IN_TIME_MINUTES, LISTS, ProgrammeLists
from sync.county.programme_sheets import SMALL, counted_xlsx, named_xlsx, shown
from sync.county.protected_file import good_password, protected_xlsx
from sync.county.vehicle_requests import bounded_body
from sync.interop.spreadsheet import XLSX_TYPE
from sync.proof.presence import local_day
from sync.web.access import roles
from sync.web.catalog import texts

if TYPE_CHECKING:
    from sync.county.app import County

PAGE = "/county/lists"
SHORTEST_REASON, LONGEST_REASON = 4, 200
_SAID = "lists_said"

router = APIRouter()


@router.get(PAGE)
@roles(*NUMBER_READERS)
async def lists_page(request: Request, practice: Practice = None) -> Response:
    county = _county(request)

    def made() -> dict[str, Any]:
        wanted, both = practice_of(county, practice)
        lists = ProgrammeLists(county.database, wanted)
        people = {name: shown(lists.people(name)) for name in LISTS}
        closed = dict(zip(("all", "in_time", "open"), map(shown, lists.closed_in_time()), strict=True))
        year = local_day(county.clock.now()).replace(month=1, day=1)
        served = {"year": year.year, "people": shown(lists.people_served(year))}
        return {"practice_shown": wanted, "both": both, "lists": people, "critical": closed, "served": served}

    facts = await run_in_threadpool(made)
    fixed = {"small": SMALL, "minutes": IN_TIME_MINUTES, "said": request.session.pop(_SAID, None)}
    return render(request, "lists.html", {**facts, **fixed})


@router.get(PAGE + "/{list}.xlsx")
@roles(*NUMBER_READERS)
async def counted(request: Request, list: str, practice: Practice = None) -> Response:
    """Counts by village; small cells are not exact."""
    county = _county(request)
    if list not in LISTS:
        raise HTTPException(404, "no such list")

    def made() -> bytes:
        wanted, _ = practice_of(county, practice)
        lists = ProgrammeLists(county.database, wanted)
        closed = lists.closed_in_time() if list == "critical" else (0, 0, 0)
        name, day = county.settings.name, local_day(county.clock.now())
        return counted_xlsx(list, lists.counts(list), closed, name, day, wanted, texts("zh"))

    content = await run_in_threadpool(made)
    await run_in_threadpool(county.audit.note, request.state.caller.id, "export", f"list {list} counts")
    return _download(content, f"{list}.xlsx")


@router.post(PAGE + "/{list}/named")
@roles("administrator")
async def named(request: Request, list: str) -> Response:
    """Form fields: ``reason``, ``password`` of the file, ``practice``. Without a reason or with a weak password nothing
    is made, and the attempt is noted."""
    county, by = _county(request), request.state.caller.id
    if list not in LISTS:
        raise HTTPException(404, "no such list")
    form = form_of(await bounded_body(request, MOST_FORM_BYTES))
    reason, practice = form.get("reason", "").strip(), form.get("practice")
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        await run_in_threadpool(county.audit.note, by, "export", f"list {list} named: no reason", "refused")
        request.session[_SAID] = {"word": "problem_reason", "kind": "ask"}
        return RedirectResponse(PAGE, 303)
    password = form.get("password", "")
    if not good_password(password):
        await run_in_threadpool(county.audit.note, by, "export", f"list {list} named: weak password", "refused")
        request.session[_SAID] = {"word": "problem_password", "kind": "ask"}
        return RedirectResponse(PAGE, 303)
    account = county.accounts.get(by)

    def made() -> tuple[bytes, int]:
        wanted, _ = practice_of(county, practice)
        lines = ProgrammeLists(county.database, wanted).lines(list)
        day, name = local_day(county.clock.now()), account.name if account else by
        sheet, count = named_xlsx(list, lines, county.settings.name, day, wanted, name, reason, texts("zh"))
        return protected_xlsx(sheet, password), count

    content, count = await run_in_threadpool(made)
    await run_in_threadpool(county.audit.note, by, "export", f"list {list} named, {count} lines: {reason}")
    return _download(content, f"{list}-named.xlsx")


def _download(content: bytes, name: str) -> Response:
    headers = {**NOT_KEPT, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=XLSX_TYPE, headers=headers)


def _county(request: Request) -> County:
    county: County = request.app.state.county
    return county
