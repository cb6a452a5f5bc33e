"""Settings of the vehicle process: one TOML file, every key typed, an unknown key refused.

Relative paths are relative to the folder of the settings file, so that a whole installation can be moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from devices.serial_ports import LABELS
from devices.session import DeviceSettings
from sync.formats.notes import NoteRefused, VerifierKey
from sync.keys.tpm import KeyProtection, Tpm
from sync.settings_file import HostAddress, Settings, read_settings
from vehicle.clinic.settings import ClinicSettings
from vehicle.picture_archive import PictureArchiveSettings
from vehicle.printing.settings import PaperPrinterSettings, PrinterSettings
from vehicle.voice.settings import VoiceSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""An identifier that may stand in file names, journal entries and log lines."""


_ORIGIN = r"^[a-z0-9][a-z0-9.-]{1,97}[a-z0-9]$"


class VehicleIdentity(Settings):
    id: Name
    plate: str = Field(min_length=1, max_length=20)
    origin: str = Field(pattern=_ORIGIN)
    """Name of this vehicle's journal; never used again for another one."""
    county_name: str = Field(min_length=1, max_length=40)
    succeeds: str | None = Field(default=None, pattern=_ORIGIN)
    """The journal that this one goes on from, after its key was lost; ``python -m vehicle new-origin`` writes it."""
    key_protection: Literal["file", "tpm"] = "file"
    """Where a new key is kept: in a file (mode 0600), or sealed to the TPM of this PC."""
    tpm_tcti: str = Field(default="", max_length=200)
    """How tpm2-tools reach the TPM, e.g. "device:/dev/tpmrm0"; empty: as they find it themselves."""
    tpm_pcrs: str = Field(default="", pattern=r"^([0-9]{1,2}(,[0-9]{1,2})*)?$")
    """PCRs that a new key is bound to; empty, none, is right for nearly everybody (``sync.keys.tpm.Tpm``)."""

    @property
    def protection(self) -> KeyProtection:
        return KeyProtection(self.key_protection, Tpm(self.tpm_tcti, self.tpm_pcrs))


class CountySettings(Settings):
    url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    """Empty: no county yet; everything is kept and waits."""
    key: str = ""
    """The county's cosigner key as a C2SP verifier key; without it no receipt can be checked."""

    @model_validator(mode="after")
    def _receipts_can_be_checked(self) -> CountySettings:
        if self.url:
            try:
                VerifierKey.typed(self.key)
            except NoteRefused as refusal:
                raise ValueError(f"key: {refusal}; ask the county for its verifier key") from None
        return self


class TouchscreenSettings(Settings):
    host: HostAddress = "127.0.0.1"
    """Loopback unless the van's own network shall see the pages."""
    port: int = Field(default=8400, ge=0, le=65535)
    socket: Path = Path("run/vehicle.sock")


class PatrolSettings(Settings):
    villages: Path = Path("villages.geojson")
    required_dwell_minutes: int = Field(default=240, ge=1, le=1440)


class ConsultationSettings(Settings):
    socket: Path = Path("run/consultation.sock")


class StaffSettings(Settings):
    id: Name
    name: str = Field(min_length=1, max_length=40)
    role: Literal["doctor", "village_doctor", "nurse", "driver"]
    pin_hash: str = Field(pattern=r"^\$argon2id\$")
    further_roles: tuple[Literal["smi"], ...] = ()
    """"smi": may open forms and lists of severe mental illness (Mental Health Law, article 4); nobody else may."""


class StickSettings(Settings):
    folders: tuple[Path, ...] = (Path("/media"), Path("/run/media"))
    """Below these folders USB sticks are mounted; what is mounted there is offered for export."""


class LinkSettings(Settings):
    """The link monitor, ``vehicle/link``."""

    modem: Literal["modem_manager", "none"] = "modem_manager"
    """Whom to ask about the mobile network; "none" where an AT driver (quectel_5g, fibocom_5g) is among the devices."""
    probe_every_minutes: int = Field(default=60, ge=0, le=1440)
    """How often the link is probed during a visit; 0: never."""
    probe_mb_a_day: int = Field(default=100, ge=0, le=2000)
    probe_mb_a_visit: int = Field(default=40, ge=0, le=1000)
    """What probing may cost of the data plan, both ways together, in 10^6 bytes."""


class VehicleSettings(Settings):
    language: Literal["zh", "en"] = "zh"
    practice: bool = False
    """演练: invented people; marked on every page and in every entry, never counted."""
    data: Path = Path("/var/lib/xunzhen")
    vehicle: VehicleIdentity
    county: CountySettings = CountySettings()
    touchscreen: TouchscreenSettings = TouchscreenSettings()
    patrol: PatrolSettings = PatrolSettings()
    consultation: ConsultationSettings = ConsultationSettings()
    picture_archive: PictureArchiveSettings | None = None
    """The hospital's PACS; without it ultrasound images stay in the record."""
    clinic: ClinicSettings = ClinicSettings()
    stick: StickSettings = StickSettings()
    link: LinkSettings = LinkSettings()
    printer: PrinterSettings = PrinterSettings()
    paper_printer: PaperPrinterSettings = PaperPrinterSettings()
    voice: VoiceSettings = VoiceSettings()
    labelled_ports: Path = LABELS
    """Folder with a link for every labelled serial port, made by the udev rules; for simulated ports another one."""
    staff: tuple[StaffSettings, ...] = ()
    devices: tuple[DeviceSettings, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> VehicleSettings:
        for what, names in (
            ("staff id", [person.id for person in self.staff]),
            ("device name", [device.name for device in self.devices]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} stands twice: give each its own")
        return self

    def below(self, folder: Path) -> VehicleSettings:
        """The same settings with every relative path made absolute below ``folder``."""
        return self.model_copy(
            update={
                "data": folder / self.data,
                "labelled_ports": folder / self.labelled_ports,
                "touchscreen": self.touchscreen.model_copy(update={"socket": folder / self.touchscreen.socket}),
                "patrol": self.patrol.model_copy(update={"villages": folder / self.patrol.villages}),
                "consultation": self.consultation.model_copy(update={"socket": folder / self.consultation.socket}),
                "printer": self.printer.below(folder),
                "voice": self.voice.below(folder),
                "devices": tuple(
                    device.model_copy(update={"port": str(folder / device.port)}) if device.port_is_path else device
                    for device in self.devices
                ),
            }
        )


def read_vehicle_settings(path: Path) -> VehicleSettings:
    """Read ``path`` with all paths made absolute.

    :raises SettingsRefused: with file, key and remedy
    """
    return read_settings(path, VehicleSettings).below(path.resolve().parent)
