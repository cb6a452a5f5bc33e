"""Which camera shows the room, which the ultrasound, which looks out of the van: as the crew says at the touchscreen.

What is chosen stands in a file beside the journal, which the consultation process reads (``chosen`` in its settings)
and follows; it goes before what its settings name. Who chose is in the journal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from devices.cameras import Camera, cameras
from devices.errors import AskPerson
from sync.formats.records import Draft
from sync.record.secret_file import replace_secret
from vehicle.clinic.ports import Journal

Picture = Literal["room", "ultrasound", "outside"]
PICTURES: tuple[Picture, ...] = get_args(Picture)
FILE = "picture-sources.json"


class CameraGone(AskPerson):
    code = "camera_gone"


class CameraChoice:
    def __init__(self, data: Path, store: Journal, find: Callable[[], list[Camera]] = cameras) -> None:
        self._file, self._store, self._find = data / FILE, store, find

    def found(self) -> list[Camera]:
        """What is plugged in now."""
        return self._find()

    def chosen(self) -> dict[str, str]:
        """Picture -> path of its camera; without what nobody chose."""
        try:
            said = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(said, dict):
            return {}
        return {name: path for name, path in said.items() if name in PICTURES and isinstance(path, str)}

    async def choose(self, path: str, picture: Picture, by: str) -> None:
        """From now on ``picture`` comes from the camera at ``path``; one that showed the other picture leaves it.

        :raises CameraGone: no camera is there; nothing changed
        """
        if path not in [camera.path for camera in self._find()]:
            raise CameraGone(f"no camera at {path}: plug it in", camera=path)
        others = {name: taken for name, taken in self.chosen().items() if taken != path}
        await self._keep(others | {picture: path}, f"{picture} {path}", by)

    async def give_back(self, picture: Picture, by: str) -> None:
        """The settings of the consultation process say again where ``picture`` comes from."""
        left = {name: path for name, path in self.chosen().items() if name != picture}
        await self._keep(left, f"{picture} as in the settings", by)

    async def _keep(self, chosen: dict[str, str], what: str, by: str) -> None:
        await self._store.commit(Draft("access/1", {"action": "camera_chosen", "what": what}, by))
        replace_secret(self._file, json.dumps(chosen))
