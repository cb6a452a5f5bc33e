"""Whether a service may work in its folder: said in words before anything in it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from devices.errors import AskPerson


class FolderRefused(AskPerson):
    """A folder that a service works in cannot be made or written to."""

    code = "folder_refused"


def usable_folder(path: Path) -> Path:
    """``path``, made with its parents when it is missing.

    :raises FolderRefused: it cannot be made, is no folder, or this user may not write there
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise FolderRefused(
            f"{path} cannot be used as a folder ({fault.strerror}): correct the path in the settings, or mount its disk"
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise FolderRefused(
            f"{path} cannot be written to: mount its disk writable, and give the folder to the user of this service"
        )
    return path
