"""Settings ``[printer]``: which slip printer the van has, what it can, and what stands at the head of a slip."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from devices.links.tcp_link import split_address
from sync.settings_file import Settings
from vehicle.printing.paper_printer import http_address
from vehicle.printing.slip_paper import PrinterHabits


class PrinterSettings(Settings):
    link: Literal["none", "serial", "usb", "tcp"] = "none"
    """"none": no slip printer; slips are shown on the screen and made as PDF."""
    port: str = ""
    """For serial and usb: a path that stays, such as /dev/serial/by-path/... or /dev/xunzhen/printer."""
    address: str = ""
    """For tcp: host, or host:port (9100 where none is named)."""
    baud_rate: int = Field(default=9600, ge=1200, le=921600)
    paper_mm: Literal[58, 80] = 58
    answers: Literal["auto", "yes", "no"] = "auto"
    """Whether the printer says how it is (DLE EOT). "yes" where it does: then silence means that it is off."""
    four_bytes: bool = True
    """It has the four-byte characters of GB 18030; else they come out as 〓."""
    qr: Literal["command", "raster"] = "command"
    """"raster" for printers that do not know GS ( k."""
    cuts: bool = True
    clinic: str = Field(default="", max_length=40)
    """Name of the clinic at the head of slips and sheets."""
    phone: str = Field(default="", max_length=40)
    """Whom people call with questions."""

    @model_validator(mode="after")
    def _reachable(self) -> PrinterSettings:
        if self.link in ("serial", "usb") and not self.port:
            raise ValueError(f'link = "{self.link}": name the port of the printer')
        if self.link == "tcp":
            split_address(self.address)
        return self

    def below(self, folder: Path) -> PrinterSettings:
        """The same with its port made absolute below ``folder``."""
        return self.model_copy(update={"port": str(folder / self.port)}) if self.port else self

    @property
    def habits(self) -> PrinterHabits:
        return PrinterHabits(self.paper_mm, self.four_bytes, self.qr == "raster", self.cuts)


class PaperPrinterSettings(Settings):
    """``[paper_printer]``: where A4 sheets are printed."""

    address: str = ""
    """``ipp://192.168.10.31/ipp/print`` of a printer that takes PDF, or ``ipp://localhost/printers/name`` of a CUPS
    queue on this computer. Empty: sheets are files."""

    @model_validator(mode="after")
    def _is_one(self) -> PaperPrinterSettings:
        if self.address:
            http_address(self.address)
        return self
