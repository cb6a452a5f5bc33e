"""The county's pages in groups, and who may open them: one table for the two rows at the top of every page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """:ivar name: of its words ``county.nav_<name>``, and what a template calls ``here``"""

    name: str
    path: str
    roles: tuple[str, ...] = ("administrator", "auditor", "reviewer")


@dataclass(frozen=True, slots=True)
class Group:
    """:ivar name: of its words ``county.group_<name>``"""

    name: str
    entries: tuple[Entry, ...]

    @property
    def path(self) -> str:
        return self.entries[0].path


_NAMES = ("administrator", "auditor")
"""Who may open pages with people, vehicles and their keys."""
GROUPS = (
    Group(
        "coverage",
        (
            Entry("coverage", "/county/coverage"),
            Entry("map", "/county/map"),
            Entry("warnings", "/county/warnings"),
            Entry("acceptance", "/county/acceptance"),
        ),
    ),
    Group("review", (Entry("review", "/county/review", _NAMES),)),
    Group(
        "work",
        (
            Entry("work", "/county/activity"),
            Entry("follow_ups", "/county/follow-ups"),
            Entry("referrals", "/county/referrals", _NAMES),
            Entry("lists", "/county/lists"),
            Entry("slips", "/county/slips", _NAMES),
        ),
    ),
    Group("fleet", (Entry("fleet", "/county/fleet", _NAMES), Entry("link", "/county/link"))),
    Group("registry", (Entry("registry", "/county/registry", _NAMES), Entry("audit", "/county/audit", ("auditor",)))),
)


def groups_for(role: str) -> list[Group]:
    """What somebody may open, without what he may not; no group is empty."""
    mine = [Group(group.name, tuple(one for one in group.entries if role in one.roles)) for group in GROUPS]
    return [group for group in mine if group.entries]


def group_of(groups: Sequence[Group], here: str) -> Group | None:
    """The group of the page ``here``; None for a page of no group."""
    return next((group for group in groups if any(one.name == here for one in group.entries)), None)
