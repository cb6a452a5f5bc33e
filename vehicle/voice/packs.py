"""Audio packs: a folder per language with ``pack.toml`` and one clip per id, ``<id>.ogg`` or ``<id>.wav``.

Packs are replaceable: a county records its own (Tibetan, Uyghur, Yi, or its own Mandarin) into a folder and names the
folder in the settings; the same language there takes the place of ours. The manifest says what each clip says, who
speaks, and under which licence. What a pack leaves out is said in Mandarin.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devices.errors import AskPerson
from vehicle.voice.numbers import COUNTINGS, Counting

MANIFEST = "pack.toml"
LARGEST_CLIP_BYTES = 4_000_000
"""A consent of two minutes as WAV."""
KINDS = {".ogg": (b"OggS", "audio/ogg"), ".wav": (b"RIFF", "audio/wav")}
"""Ending -> (first bytes, media type)."""
CLIP_ID = re.compile(r"[a-z0-9_]{1,40}")
_REQUIRED = ("language", "title", "speaker", "licence")
_LANGUAGE = re.compile(r"[a-z]{2,3}")


class PackRefused(AskPerson):
    """A folder that is no audio pack; the message names file, fault and remedy."""

    code = "voice_pack_refused"


@dataclass(frozen=True, slots=True)
class Clip:
    id: str
    text: str
    """What it says, in its language."""
    path: Path
    media_type: str


@dataclass(frozen=True, slots=True)
class Pack:
    language: str
    title: str
    """The language in its own name."""
    speaker: str
    licence: str
    counting: Counting
    sentences: Mapping[str, str]
    """Sentence -> ids of clips and ``{facts}`` in the order of this language."""
    clips: Mapping[str, Clip] = field(default_factory=dict)


def read_pack(folder: Path) -> Pack:
    """
    :raises PackRefused: no manifest, one that cannot be read, a clip without file or a file that is no clip
    """
    said = _manifest(folder)
    for name in _REQUIRED:
        if not isinstance(said.get(name), str) or not said[name].strip():
            raise PackRefused(f'{folder / MANIFEST}: {name} is missing; write {name} = "..."', pack=folder.name)
    if not _LANGUAGE.fullmatch(said["language"]):
        raise PackRefused(f"{folder / MANIFEST}: language {said['language']!r} is no ISO 639 code", pack=folder.name)
    counting = said.get("counting", "digits")
    if counting not in COUNTINGS:
        raise PackRefused(f"{folder / MANIFEST}: counting is one of {', '.join(COUNTINGS)}", pack=folder.name)
    texts, sentences = said.get("clips", {}), said.get("sentences", {})
    if not isinstance(texts, dict) or not texts or not isinstance(sentences, dict):
        raise PackRefused(f"{folder / MANIFEST}: write what each clip says below [clips]", pack=folder.name)
    clips = {clip_id: _clip(folder, clip_id, text) for clip_id, text in texts.items()}
    unheard = sorted(path.name for path in _files(folder) if path.stem not in clips)
    if unheard:
        raise PackRefused(f"{folder}: [clips] does not say what is in {', '.join(unheard)}", pack=folder.name)
    return Pack(said["language"], said["title"], said["speaker"], said["licence"], counting, sentences, clips)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PackRefused(f"{path} is not there: a pack needs its manifest", pack=folder.name) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise PackRefused(f"{path} cannot be read: {fault}", pack=folder.name) from None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix in KINDS)


def _clip(folder: Path, clip_id: str, text: object) -> Clip:
    if not CLIP_ID.fullmatch(clip_id) or not isinstance(text, str) or not text.strip():
        raise PackRefused(f"{folder / MANIFEST}: clip {clip_id!r} needs a text", pack=folder.name)
    for suffix, (magic, media_type) in KINDS.items():
        path = folder / f"{clip_id}{suffix}"
        if not path.is_file():
            continue
        if path.stat().st_size > LARGEST_CLIP_BYTES:
            raise PackRefused(f"{path} is larger than 4 MB: record it shorter, or as .ogg", pack=folder.name)
        with path.open("rb") as file:
            if not file.read(4).startswith(magic):
                raise PackRefused(f"{path} is no {suffix[1:]} file: record it again as Ogg Opus", pack=folder.name)
        return Clip(clip_id, text, path, media_type)
    raise PackRefused(f"{folder}: {clip_id}.ogg is missing ({text})", pack=folder.name)
