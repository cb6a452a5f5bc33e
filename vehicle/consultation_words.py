"""A case's words in the other languages, for a specialist whose page is not in the van's: pure.

The van words what its rules and lists say (prompts, advice, analytes, steps of an emergency) in its own language.
Beside it stands a glossary: every such text and what it is in the other language, so that a page that knows nothing of
it shows what it always did. What people typed has no other words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from sync.web.catalog import LANGUAGES
from telemedicine.wire import SUMMARY_LIMIT_CHARACTERS

Glossary = dict[str, str]
"""A text as the van says it -> the same in another language."""


def glossary(ours: Any, theirs: Any) -> Glossary:
    """Of the texts that stand at the same place of two summaries and differ; where their shapes differ, of none."""
    return dict(_pairs(ours, theirs))


def in_all_languages(summary_in: Callable[[str | None], dict[str, Any]]) -> dict[str, Any]:
    """The summary in the van's language, with ``words``: language -> glossary, as far as the message has room for it.

    :param summary_in: the summary in a language; None: in the van's
    """
    summary = summary_in(None)
    found = {language: glossary(summary, summary_in(language)) for language in LANGUAGES}
    told = summary | {"words": {language: words for language, words in found.items() if words}}
    return told if told["words"] and len(json.dumps(told)) <= SUMMARY_LIMIT_CHARACTERS else summary


def _pairs(ours: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    if isinstance(ours, str) and isinstance(theirs, str) and ours != theirs:
        yield ours, theirs
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        for name in ours.keys() & theirs.keys():
            yield from _pairs(ours[name], theirs[name])
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from _pairs(one, other)
