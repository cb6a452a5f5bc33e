"""The frame around every page: rail, strip with the state of van and network, the person being served.

``Screen`` is what the routes of all pages share: the vehicle, the templates and the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from devices import catalog
from devices.errors import XunzhenError
from sync.web.access import Caller
from sync.web.catalog import Texts, texts
from sync.web.pages import Pages
from telemedicine.degradation import LADDER, Rung
from vehicle.clinic.critical_record import Critical
from vehicle.hints import hint
from vehicle.pairing import ANSWER_WITHIN_S, REFUSED
from vehicle.touchscreen import wording
from vehicle.touchscreen.sessions import BACKGROUND

if TYPE_CHECKING:
    from vehicle.assembly import Vehicle

FOLDER = Path(__file__).parent
PLACES = ("today", "people", "measure", "consult", "status")
DRIVER_PLACES = ("today", "status")
FAST_MBIT_S = 1000
"""From here on a figure tells nobody more."""


class Screen:
    def __init__(self, vehicle: Vehicle) -> None:
        self.vehicle = vehicle
        self.pages = Pages(FOLDER / "templates", vehicle.settings.language)
        self.ecg_drivers = {name for name, kind in catalog.drivers().items() if _gives(kind, "ecg")}
        self.pages.filters.update(
            local_time=wording.local_time,
            hours_minutes=wording.hours_minutes,
            byte_size=wording.byte_size,
        )

    def texts(self, request: Request) -> Texts:
        return texts(self.pages.language(request))

    def page(
        self,
        request: Request,
        template: str,
        place: str,
        context: Mapping[str, Any] | None = None,
        status: int = 200,
    ) -> Response:
        """A page inside the frame; ``place`` is the entry of the rail that is marked."""
        t = self.texts(request)
        everything = {"place": place, **self._frame(request, t), **self.words(t), **(context or {})}
        return self.pages.render(request, template, everything, status)

    def bare(
        self, request: Request, template: str, context: Mapping[str, Any] | None = None, status: int = 200
    ) -> Response:
        """A page without the frame (sign-in)."""
        t = self.texts(request)
        now = self.vehicle.clock.now()
        base = {"now": now, "practice": self.vehicle.settings.practice, **self.words(t), **(context or {})}
        return self.pages.render(request, template, base, status)

    @staticmethod
    def words(t: Texts) -> dict[str, Any]:
        """The short hands that templates use for words, days and spans."""

        def w(key: str, **facts: object) -> str:
            return t(f"touch.{key}", **facts)

        return {
            "w": w,
            "has_word": lambda key: f"touch.{key}" in t,
            "word_group": lambda key: t.group(f"touch.{key}"),
            "day": lambda at: wording.local_day(at, t),
            "weekday": lambda at: wording.weekday(at, t),
            "span": lambda seconds: wording.span(seconds, t),
            "value_text": wording.value_text,
            "measured": wording.measured,
            "shown": lambda given: wording.input_text(given, t),
            "printed": wording.printed_place,
        }

    def _frame(self, request: Request, t: Texts) -> dict[str, Any]:
        vehicle = self.vehicle
        caller: Caller = request.state.caller
        driver = caller.role == "driver"
        status = vehicle.health.status(t.language)
        served = None if driver else vehicle.encounters.current()
        return {
            "now": vehicle.clock.now(),
            "practice": vehicle.settings.practice,
            "places": DRIVER_PLACES if driver else PLACES,
            "visit": vehicle.visits.current(),
            "status": status,
            "link": link_words(status.get("link") or {}, t),
            "served": served,
            "background": vehicle.backgrounds.of(served.patient.patient) if served is not None else None,
            "offered": None if driver else vehicle.encounters.offered(),
            "flash": self._take_flash(request),
            "pairing": self._pairing(t),
            "emergency": vehicle.emergencies.current(),
            "moving": vehicle.driving.moving,
            "red_open": None if driver else self._red_open(t.language),
            "paper_printer": vehicle.paper.printer is not None,
            "back_path": request.url.path,
        }

    def _red_open(self, language: str) -> Critical | None:
        """What every page says until it is dealt with: findings first, also of people who have left."""
        vehicle = self.vehicle
        here = vehicle.measurements.critical(language)
        waiting = [*here, *vehicle.critical_findings.open_of_others(language)]
        return next((one for one in waiting if one.source), waiting[0] if waiting else None)

    def _pairing(self, t: Texts) -> dict[str, Any]:
        pairing = self.vehicle.pairing
        return {
            "asking": pairing.asking(),
            "within_s": ANSWER_WITHIN_S,
            "refused": pairing.refused,
            "turn": pairing.turn,
            "hint": hint(REFUSED, t.language),
        }

    @staticmethod
    def _take_flash(request: Request) -> Any:
        return None if BACKGROUND in request.headers else request.session.pop("flash", None)

    def say(self, request: Request, title: str, text: str = "", kind: str = "done") -> None:
        """Leave a line for the next page this browser opens. ``kind``: "done" or "ask"."""
        request.session["flash"] = {"title": title, "text": text, "kind": kind}

    def explain(self, request: Request, error: XunzhenError) -> dict[str, str]:
        """An error in words: what is the matter, why, what to do next."""
        language = self.texts(request).language
        words = hint(error.code, language)
        title = words.title
        if "tries_left" in error.facts:
            title = self.texts(request)("touch.tries_left", title=title, n=error.facts["tries_left"])
        return {"code": error.code, "title": title, "cause": words.cause, "next_step": words.next_step}


def _mbit_s(speed: float) -> str:
    """Short, and never 0 of a line that carries something."""
    if speed >= FAST_MBIT_S:
        return f"{FAST_MBIT_S}+"
    return f"{speed:.0f}" if speed >= 1 else f"{max(speed, 0.1):.1f}"


def _gives(kind: Any, metric: str) -> bool:
    return any(one.key == metric for one in kind.about.metrics)


def back(path: str) -> RedirectResponse:
    """After a form: see the page again with GET."""
    return RedirectResponse(path, status_code=303)


def referring_path(request: Request, default: str) -> str:
    """The page of ours a form was sent from; never another site."""
    parts = urlsplit(request.headers.get("referer", ""))
    if parts.netloc != request.headers.get("host") or not parts.path.startswith("/"):
        return default
    return parts.path + (f"?{parts.query}" if parts.query else "")


def link_words(link: Mapping[str, Any], t: Texts) -> dict[str, Any]:
    """The network in words before numbers: good is what carries a whole consultation."""
    if not link.get("online"):
        return {"online": False, "title": t("touch.link.none"), "text": t("touch.link.kept"), "good": False}
    rtt, up, down = link.get("rtt_ms"), link.get("up_mbit_s"), link.get("down_mbit_s")
    kind = t(f"touch.link.kind.{link.get('kind') or 'other'}")
    speeds = [
        t(f"touch.link.{name}", n=_mbit_s(speed)) for name, speed in (("up", up), ("down", down)) if speed is not None
    ]
    needs = LADDER[Rung.LIVE]
    good = rtt is not None and rtt <= needs.most_rtt_ms and (up is None or up * 1e6 >= needs.least_up_bit_s)
    if rtt is None:
        text = t("touch.link.unmeasured")
    else:
        text = t("touch.link.good" if good else "touch.link.slow", ms=f"{rtt:.0f}")
    return {"online": True, "title": " ".join([kind, *speeds]), "text": text, "good": good}
