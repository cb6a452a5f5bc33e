"""A signed follow-up form and the health profile on A4. Chinese, as the national forms are.

A form prints as the national one does: each item with all its choices, what was chosen marked and its codes in boxes.
A form that is confidential prints with a line that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from devices.clock import Clock
from sync.formats.canonical import Json
from sync.web.catalog import texts
from sync.web.paper import pdf_of
from vehicle.clinic.follow_up_views import CORRECTION_REASONS, SignedForm
from vehicle.clinic.forms.form import Field, called_by_programme
from vehicle.clinic.forms.wording import shown_answer
from vehicle.clinic.health_profile import HealthProfile
from vehicle.clinic.trends import svg
from vehicle.clinic.views import CHINA
from vehicle.printing.slip_contents import Letterhead
from vehicle.touchscreen.wording import value_text

_FOLDER = Path(__file__).parent / "templates"
LANGUAGE = "zh"
IN_INK = (
    ".frame { fill: #f4f4f4 } .limit { stroke: #777; stroke-dasharray: 4 4; fill: none } "
    ".line { stroke: #111; stroke-width: 2.5; fill: none } .line.second { stroke: #777 } "
    ".dot { fill: #111 } .dot.second { fill: #777 } "
    "text { font-family: 'Noto Sans CJK SC'; font-size: 15px; fill: #333 }"
)
"""Trends on paper."""


class FormSheets:
    """:param letterhead: clinic, plate, phone and whether it is practice"""

    def __init__(self, letterhead: Letterhead, clock: Clock) -> None:
        self._letterhead = letterhead
        self._clock = clock
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def form_html(self, signed: SignedForm) -> str:
        """The signed form like the national one; everything stands inside it."""
        return self._render("follow_up_sheet.html", signed=signed, form=signed.form, patient=signed.patient)

    def form_pdf(self, signed: SignedForm) -> bytes:
        """PDF/A; takes a second or two.

        :raises PrintingUnavailable: this computer lacks Pango or a Chinese font
        """
        return pdf_of(self.form_html(signed))

    def profile_html(self, profile: HealthProfile) -> str:
        return self._render(
            "health_profile_sheet.html",
            profile=profile,
            patient=profile.patient,
            charts=[(trend, svg(trend, trend.type, IN_INK)) for trend in profile.trends],
            value_text=value_text,
        )

    def profile_pdf(self, profile: HealthProfile) -> bytes:
        """As ``form_pdf``."""
        return pdf_of(self.profile_html(profile))

    def _render(self, template: str, **context: Any) -> str:
        t = texts(LANGUAGE)
        return self._environment.get_template(template).render(
            head=self._letterhead,
            made_at=self._local(self._clock.now()),
            w=lambda key, **facts: t(f"touch.{key}", **facts),
            has_word=lambda key: f"touch.{key}" in t,
            shown=lambda one, value: shown_answer(one, value, LANGUAGE),
            boxes=_boxes,
            chosen=_chosen,
            form_title=lambda form: t(f"touch.programme.{form.programme}") if called_by_programme(form) else form.zh,
            why=lambda one: (
                t(f"touch.correction_reason.{one.reason}") if one.reason in CORRECTION_REASONS else one.reason
            ),
            china=CHINA,
            today=self._clock.now().astimezone(CHINA).date(),
            **context,
        )

    @staticmethod
    def _local(at: datetime) -> str:
        return f"{at.astimezone(CHINA):%Y-%m-%d %H:%M}"


def _chosen(one: Field, answers: Mapping[str, Json], code: str) -> bool:
    value = answers.get(one.name)
    return code in value if isinstance(value, list) else value == code


def _boxes(one: Field, answers: Mapping[str, Json]) -> list[str]:
    """What stands in the code boxes at the right end of an item: the codes chosen, one empty box for nothing."""
    value = answers.get(one.name)
    if isinstance(value, list):
        return [str(code) for code in value] or [""]
    return [""] if value is None or isinstance(value, date) else [str(value)]
