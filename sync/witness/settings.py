"""Settings of the province's witness (``witness.toml``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from sync.formats.notes import ED25519, ED25519_COSIGNATURE, NoteRefused, VerifierKey
from sync.proof.registry_entries import is_registry, registry_origin
from sync.settings_file import HostAddress, Settings, SettingsRefused, read_settings


class WitnessedCounty(Settings):
    """A county whose logs are cosigned. Both lines are shown by ``python -m sync.county --settings ... show-key``.

    :ivar registry: verifier key of its registry; its vehicles are known from there
    :ivar key: the county's own cosigner key, so that it is never taken for a vehicle's
    """

    registry: str
    key: str

    @field_validator("registry", "key")
    @classmethod
    def _is_key(cls, line: str) -> str:
        try:
            VerifierKey.typed(line)
        except NoteRefused as fault:
            raise ValueError(str(fault)) from None
        return line

    @property
    def registry_key(self) -> VerifierKey:
        return VerifierKey.typed(self.registry)

    @property
    def county_key(self) -> VerifierKey:
        return VerifierKey.typed(self.key)


class WitnessSettings(Settings):
    """:ivar data: folder of the database and the key; relative paths belong to the settings file's folder
    :ivar origin: name under which the witness cosigns, e.g. "witness.province.example"
    """

    data: Path
    origin: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")
    host: HostAddress = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)
    county: tuple[WitnessedCounty, ...] = ()

    @property
    def key_file(self) -> Path:
        return self.data / "keys" / "witness.key"

    @property
    def database_file(self) -> Path:
        return self.data / "witness.db"


def read_witness_settings(path: Path) -> WitnessSettings:
    """:raises sync.settings_file.SettingsRefused: with file, key and remedy"""
    settings = read_settings(path, WitnessSettings)
    for county in settings.county:
        registry, key = county.registry_key, county.county_key
        if registry.algorithm != ED25519 or not is_registry(registry.name):
            raise SettingsRefused(f"{path}: {registry.name} is not a registry's key: take the line with 'registry.'")
        if key.algorithm != ED25519_COSIGNATURE or registry_origin(key.name) != registry.name:
            raise SettingsRefused(f"{path}: {key.name} is not the key of the county whose registry is {registry.name}")
    return settings.model_copy(update={"data": path.resolve().parent / settings.data})
