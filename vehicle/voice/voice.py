"""What is said when: sentences put together from the clips of a pack, with numbers, falling back to Mandarin.

A sentence is a row of clip ids and ``{facts}`` in the manifest of a pack, so that each language has its own order.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.events import emit
from vehicle.voice.numbers import number_clips
from vehicle.voice.packs import Clip, Pack, PackRefused, read_pack
from vehicle.voice.settings import VoiceSettings

OURS = Path(__file__).parent / "prompts"
FALLBACK = "zh"
GRADES = ("green", "yellow", "orange", "red")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One clip of a sentence, in the language it is really spoken in."""

    language: str
    clip: Clip


class Voice:
    """
    :param settings: the county's packs are read beside ours; one that is refused is logged and left out
    """

    def __init__(self, settings: VoiceSettings) -> None:
        self.settings = settings
        self.refused: list[PackRefused] = []
        self.packs: dict[str, Pack] = {}
        for folder in [*_folders(OURS), *_folders(settings.packs)]:
            try:
                pack = read_pack(folder)
            except PackRefused as refusal:
                self.refused.append(refusal)
                emit("voice_pack_refused", logging.WARNING, pack=folder.name, reason=str(refusal))
                continue
            self.packs[pack.language] = pack
        self.somebody_else(None)

    def say(self, sentence: str, facts: Mapping[str, str] | None = None, language: str = "") -> list[Spoken]:
        """The clips of a sentence; empty: no pack has it.

        :param facts: numbers as they are written, words as clip ids ("grade_red")
        """
        for pack in self._order(language):
            row = pack.sentences.get(sentence)
            if row is not None:
                return self._clips(row, facts or {}, pack)
            if sentence in pack.clips:
                return [Spoken(pack.language, pack.clips[sentence])]
        return []

    def somebody_else(self, served: object) -> None:
        """The next person is spoken to in the language of the settings."""
        self.language = self.settings.language if self.settings.language in self.packs else FALLBACK

    def clip(self, language: str, clip_id: str) -> Clip | None:
        pack = self.packs.get(language)
        return pack.clips.get(clip_id) if pack else None

    def _order(self, language: str) -> list[Pack]:
        wanted = dict.fromkeys((language or self.language, self.language, FALLBACK))
        return [self.packs[name] for name in wanted if name in self.packs]

    def _clips(self, row: str, facts: Mapping[str, str], pack: Pack) -> list[Spoken]:
        """A fact that is not known is left out; a clip that the pack lacks is said in Mandarin."""
        ids: list[str] = []
        for word in row.split():
            fact = facts.get(word[1:-1]) if word.startswith("{") and word.endswith("}") else word
            if fact is None:
                continue
            ids += number_clips(fact, pack.counting) if fact[:1].isdigit() else [fact]
        return [spoken for clip_id in ids if (spoken := self._spoken(clip_id, pack)) is not None]

    def _spoken(self, clip_id: str, pack: Pack) -> Spoken | None:
        for one in (pack, self.packs.get(FALLBACK)):
            if one is not None and clip_id in one.clips:
                return Spoken(one.language, one.clips[clip_id])
        return None


def _folders(packs: Path | None) -> list[Path]:
    """Folders of packs in ``packs``; none where it is not there."""
    if packs is None or not packs.is_dir():
        return []
    return sorted(folder for folder in packs.iterdir() if folder.is_dir() and not folder.name.startswith((".", "_")))
