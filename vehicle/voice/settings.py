"""Settings ``[voice]``: whether the van speaks, in which language, and where the county's own packs are."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sync.settings_file import Settings


class VoiceSettings(Settings):
    on: bool = True
    language: str = Field(default="zh", pattern=r"^[a-z]{2,3}$")
    """What is spoken first; a person may be spoken to in any other language that there is a pack for."""
    packs: Path | None = None
    """Folder with the county's own packs, one folder each; the same language there takes the place of ours."""
    volume_percent: int = Field(default=80, ge=0, le=100)
    """Where a panel's own volume was not set yet."""

    def below(self, folder: Path) -> VoiceSettings:
        """The same with its folder made absolute below ``folder``."""
        return self.model_copy(update={"packs": folder / self.packs}) if self.packs else self
