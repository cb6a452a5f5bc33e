"""People on screening paths: where they stand, what is kept of it, and how many of who is due were asked.

A path has no memory of its own: where somebody stands follows from what is known of them (``paths``), and every answer
is kept at once as a confirmed reading. Entries say that a path was begun and how it ended: ``screening_path/1`` and
``screening_path_ended/1``, with the results of its rules as ``screening_result/1``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from devices.clock import Clock
from devices.errors import AskPerson
from sync.formats.canonical import Json
from sync.formats.records import Draft
from vehicle.clinic.paths import NEXT, Outcome, Path, PathSet, Step, StepState
from vehicle.clinic.ports import Ids, Journal, marks
from vehicle.clinic.prompt_views import InputShown, Missing, Prompt, PromptWords
from vehicle.clinic.prompts import AnswerRefused, Prompts
from vehicle.clinic.screening import Result

PathState = Literal["due", "going_on", "done", "not_due"]
PICTURES = "SELECT sha256 FROM recordings WHERE encounter = ? AND what LIKE 'ultrasound%' ORDER BY started_at, sha256"


class PathUnknown(AskPerson):
    """There is no such screening path."""

    code = "path_unknown"


@dataclass(frozen=True, slots=True)
class OptionShown:
    value: object
    text: str
    hint: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """One question on the page of a step. ``options`` is empty where a number is typed."""

    field: str
    text: str
    hint: str
    unit: str
    low: float | None
    high: float | None
    options: tuple[OptionShown, ...]
    known: object
    """What was said or measured already; None when nothing."""


@dataclass(frozen=True, slots=True)
class StepShown:
    id: str
    title: str
    state: StepState
    measure: str
    record: str
    optional: bool


@dataclass(frozen=True, slots=True)
class PathPage:
    """A path as it stands for one person."""

    path: str
    title: str
    about: str
    steps: tuple[StepShown, ...]
    step: StepShown | None
    """The one on the page; None when all are answered or passed: the result is next."""
    asked: tuple[Asked, ...]
    before: str | None
    """The step to go back to."""
    known: tuple[InputShown, ...]
    """What the rules of this path use already."""
    missing: tuple[str, ...]
    """Titles of the steps that are open and not optional."""


@dataclass(frozen=True, slots=True)
class PathResult:
    path: str
    title: str
    prompts: tuple[Prompt, ...]
    """What the rules say, the one that decides first."""
    next: tuple[str, ...]
    """What is offered, the proposed one first; of ``paths.NEXT``."""
    to: str
    """Key of the place a referral is proposed to; empty when none is."""
    urgency: str
    also: tuple[InputShown, ...]
    """What was said on the way and no rule asks for: organ, size, spirometry; codes as words."""
    missing: tuple[Missing, ...]
    open_steps: tuple[StepShown, ...]
    """Those that are not optional."""
    ended_as: str
    """What it ended in before, where it did in this encounter."""


@dataclass(frozen=True, slots=True)
class PathCard:
    """A path on the Screening page."""

    path: str
    title: str
    about: str
    state: PathState
    done: int
    steps: int
    last_at: datetime | None
    """When this person went it to its end the last time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the people served in a visit: ``asked`` of those ``due``."""

    path: str
    title: str
    asked: int
    due: int


class PathRuns:
    """:param prompts: asks the rules and keeps the answers"""

    def __init__(self, store: Journal, ids: Ids, clock: Clock, prompts: Prompts, paths: PathSet) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._prompts = prompts
        self.paths = paths

    def path(self, path: str) -> Path:
        """:raises PathUnknown: there is none of this name"""
        found = self.paths.paths.get(path)
        if found is None:
            raise PathUnknown(f"there is no screening path {path[:40]!r}")
        return found

    # pages

    def page(self, encounter: str, path: str, language: str, step: str = "", after: str = "") -> PathPage:
        """The page of ``step``; else of the first open step behind ``after``, else of the first open one.

        :raises PathUnknown: see ``path``
        """
        walk, known = self.path(path), self._prompts.inputs(encounter)
        words = self._prompts.words(language)
        walked = walk.walked(known)
        shown = {one.id: _shown(one, state, language) for one, state in walked}
        chosen = next((one for one, _ in walked if one.id == step), None) or walk.next_step(known, after or None)
        before = walk.before(known, chosen.id if chosen else "")
        inputs = {name for rule in walk.rules for name in self._prompts.rules.rule(rule).inputs}
        used = {name: given for name, given in known.items() if name in inputs}
        return PathPage(
            path=path,
            title=walk.title(language),
            about=walk.about(language),
            steps=tuple(shown.values()),
            step=shown[chosen.id] if chosen else None,
            asked=tuple(self._asked(name, known, words) for name in chosen.ask) if chosen else (),
            before=before.id if before else None,
            known=words.inputs(used),
            missing=tuple(one.title for one in shown.values() if one.state == "open" and not one.optional),
        )

    def result(self, encounter: str, path: str, language: str) -> PathResult:
        """What the rules of the path say now, and what may follow.

        :raises PathUnknown: see ``path``
        """
        walk, known = self.path(path), self._prompts.inputs(encounter)
        words = self._prompts.words(language)
        results = self._prompts.results_of(walk.rules, known)
        outcome = walk.outcome(results)
        first = [result for result in results if result.rule == outcome.rule]
        ordered = [*first, *(result for result in results if result.rule != outcome.rule)]
        prompts = tuple(words.prompt(result) for result in ordered)
        missing = {one.field: one for prompt in prompts for one in prompt.missing}
        walked = walk.walked(known)
        opened = [_shown(one, state, language) for one, state in walked if state == "open" and not one.optional]
        run = self._run(encounter, path)
        return PathResult(
            path=path,
            title=walk.title(language),
            prompts=prompts,
            next=tuple(dict.fromkeys((*outcome.next, *NEXT))),
            to=outcome.to,
            urgency=outcome.urgency,
            also=self._also(walk, known, words),
            missing=tuple(missing.values()),
            open_steps=tuple(opened),
            ended_as=str(run["next"] or "") if run else "",
        )

    def _also(self, walk: Path, known: Mapping[str, object], words: PromptWords) -> tuple[InputShown, ...]:
        inputs = {name for rule in walk.rules for name in self._prompts.rules.rule(rule).inputs}
        names = [name for step in walk.steps for name in (*step.ask, *step.kept) if name not in inputs]
        kept = {name for step in walk.steps for name in step.kept}
        told: dict[str, object] = {}
        for name in dict.fromkeys(names):
            given = known.get(name)
            if given is not None and (given != 0 or name not in kept):
                question = self.paths.questions.get(name)
                said = [one for one in question.options if one.value == given] if question else []
                told[name] = said[0].words(words.t.language) if said else given
        return words.inputs(told)

    def cards(self, encounter: str, language: str) -> list[PathCard]:
        """Every path for the person of an encounter: those due and going on first."""
        patient, _ = self._prompts.known.whose(encounter)
        known = self._prompts.inputs(encounter)
        cards = []
        for path in self.paths.paths.values():
            walked = path.walked(known)
            run, last = self._run(encounter, path.id), self._last(patient, path.id)
            if run is not None:
                state: PathState = "done" if run["ended_at"] else "going_on"
            else:
                state = "due" if path.is_due(known) and not self._lately(path, last) else "not_due"
            done = sum(1 for _, stands in walked if stands == "done")
            cards.append(PathCard(path.id, path.title(language), path.about(language), state, done, len(walked), last))
        return sorted(cards, key=lambda card: ("going_on", "due", "done", "not_due").index(card.state))

    def leads_to(self, rule: str) -> str | None:
        """The path that a prompt of this rule starts; None when there is none."""
        path = self.paths.of_rule(rule)
        return path.id if path else None

    def progress(self, visit: str | None, language: str) -> list[Progress]:
        """Who was asked of those due, over the people served in a visit; paths nobody is due for are left out."""
        if visit is None:
            return []
        served = self._store.read(
            "SELECT encounter, patient, opened_at FROM encounters WHERE visit = ? ORDER BY opened_at, encounter",
            (visit,),
        )
        last_of, came_at = {}, dict[str, str]()
        for row in served:
            person = min(self._prompts.known.people.registrations(row["patient"]))
            last_of[person] = row["encounter"]
            came_at.setdefault(person, row["opened_at"])
        people = {person: self._prompts.inputs(encounter) for person, encounter in last_of.items()}
        told = []
        for path in self.paths.paths.values():
            asked = due = 0
            for person, known in people.items():
                ended_at = self._last(person, path.id)
                here = ended_at is not None and ended_at >= datetime.fromisoformat(came_at[person])
                if here or (path.is_due(known) and not self._lately(path, ended_at)):
                    due, asked = due + 1, asked + here
            if due:
                told.append(Progress(path.id, path.title(language), asked, due))
        return told

    # what is kept

    async def answer(self, encounter: str, path: str, told: Mapping[str, object], by: str) -> None:
        """Keep answers at once; the first of a path says that it was begun.

        :raises AnswerRefused: names the field; nothing is kept
        :raises PathUnknown, NoEncounter: see there
        """
        walk = self.path(path)
        asked = {name for step in walk.steps for name in step.ask}
        for name in told:
            if name not in asked:
                raise AnswerRefused(f"{path} does not ask for {name!r}", field=name)
        await self._begin(encounter, walk, by)
        if told:
            await self._prompts.answer(encounter, told, by)

    async def begin(self, encounter: str, path: str, by: str) -> None:
        """Note that the path was begun, unless it was in this encounter."""
        await self._begin(encounter, self.path(path), by)

    async def end(self, encounter: str, path: str, next_: str, by: str) -> Outcome:
        """Keep the results of the path's rules, and what it ended in.

        :param next_: of ``paths.NEXT``
        :raises AnswerRefused: another end
        """
        if next_ not in NEXT:
            raise AnswerRefused(f"a path ends in {', '.join(NEXT)}, not in {next_[:20]!r}", field="next")
        walk = self.path(path)
        patient, visit = self._prompts.known.whose(encounter)
        run = await self._begin(encounter, walk, by)
        known = self._prompts.inputs(encounter)
        results = self._prompts.results_of(walk.rules, known)
        outcome = walk.outcome(results)
        drafts = self._prompts.results_to_record(encounter, patient, visit, known, by, results)
        fields: dict[str, Json] = {
            "run": run,
            "patient": patient,
            "path": path,
            "next": next_,
            "results": self._ids_of(encounter, results, drafts),
        }
        said = self._deciding(outcome, results)
        if said is not None:
            fields |= {"rule": said.rule, "code": said.code}
        if any(step.record == "ultrasound" for step in walk.steps):
            fields["pictures"] = [row["sha256"] for row in self._store.read(PICTURES, (encounter,))]
        await self._store.commit(
            *drafts, Draft("screening_path_ended/1", fields, by=by, visit=visit, encounter=encounter)
        )
        return outcome

    async def _begin(self, encounter: str, walk: Path, by: str) -> str:
        """The run of this encounter, ended or not; a new one when there is none."""
        found = self._run(encounter, walk.id)
        if found is not None:
            return str(found["run"])
        patient, visit = self._prompts.known.whose(encounter)
        run = self._ids.new("run")
        fields: dict[str, Json] = {
            "run": run,
            "patient": patient,
            "path": walk.id,
            "path_version": self.paths.version,
        }
        await self._store.commit(Draft("screening_path/1", fields, by=by, visit=visit, encounter=encounter))
        return run

    def results_kept(self, encounter: str, path: str) -> list[str]:
        """Ids of the results that the path ended with in this encounter; empty before."""
        run = self._run(encounter, path)
        return list(json.loads(run["results_json"] or "[]")) if run else []

    # reading

    def _run(self, encounter: str, path: str) -> dict[str, Any] | None:
        rows = self._store.read(
            "SELECT * FROM screening_paths WHERE encounter = ? AND path = ? ORDER BY started_at, run", (encounter, path)
        )
        return rows[-1] if rows else None

    def _last(self, patient: str, path: str) -> datetime | None:
        who = self._prompts.known.people.registrations(patient)
        rows = self._store.read(
            f"SELECT max(ended_at) AS at FROM screening_paths WHERE patient IN ({marks(who)}) AND path = ?",
            (*who, path),
        )
        return datetime.fromisoformat(rows[0]["at"]) if rows[0]["at"] else None

    def _lately(self, path: Path, ended_at: datetime | None) -> bool:
        return ended_at is not None and self._clock.now() - ended_at < timedelta(days=path.every_days)

    def _ids_of(self, encounter: str, results: Sequence[Result], drafts: Sequence[Draft]) -> list[Json]:
        """The entries that hold these results: new ones, and those of before that say the same."""
        fresh = {str(draft.fields["rule"]): str(draft.fields["result"]) for draft in drafts}
        kept = {
            row["rule"]: row["result"]
            for row in self._store.read(
                "SELECT rule, result FROM screening_results WHERE encounter = ? ORDER BY at, result", (encounter,)
            )
        }
        held = {**kept, **fresh}
        return [held[result.rule] for result in results if result.rule in held]

    @staticmethod
    def _deciding(outcome: Outcome, results: Sequence[Result]) -> Result | None:
        """The result that the outcome hangs on, else the most severe one."""
        return next((result for result in results if result.rule == outcome.rule), results[0] if results else None)

    def _asked(self, name: str, known: Mapping[str, object], words: PromptWords) -> Asked:
        question, field = self.paths.questions[name], words.field(name)
        language, given = words.t.language, known.get(name)
        options = [
            OptionShown(one.value, one.words(language), one.hint(language), one.value == given)
            for one in question.options
        ]
        if field.type == "boolean":
            answers = ((True, "touch.answer.yes"), (False, "touch.answer.no"))
            options = [OptionShown(value, words.t(key), "", value is given) for value, key in answers]
        return Asked(
            field=name,
            text=question.words(language),
            hint=question.hint(language),
            unit=words.unit(field) if not options else "",
            low=field.low,
            high=field.high,
            options=tuple(options),
            known=given,
        )


def _shown(step: Step, state: StepState, language: str) -> StepShown:
    return StepShown(step.id, step.title(language), state, step.measure, step.record, step.optional)
