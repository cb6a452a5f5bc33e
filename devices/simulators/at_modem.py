"""Twin of a cellular modem's AT port: one command at a time, echo on or off, unsolicited lines in between.

``QuectelTwin`` and ``FibocomTwin`` answer the questions of the drivers of these names as the makers' manuals show it;
``scene`` is where the modem stands. Anything that would change the modem is answered with ERROR and kept in
``refused``, so that a test can see that it was never asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from devices.readings import ServingCell

LONGEST_COMMAND = 256
UNKNOWN = "00FFFFFFF"
NR_BANDWIDTH = {5.0: 0, 20.0: 3, 40.0: 6, 60.0: 8, 80.0: 10, 100.0: 12}
LTE_BANDWIDTH = {1.4: 0, 3.0: 1, 5.0: 2, 10.0: 3, 15.0: 4, 20.0: 5}
LTE_BLOCKS = {1.4: 6, 3.0: 15, 5.0: 25, 10.0: 50, 15.0: 75, 20.0: 100}
SPACING = {15: 0, 30: 1, 60: 2, 120: 3}


@dataclass(slots=True)
class Scene:
    """What surrounds a modem: its card, its network, the cells that serve it (the anchor first)."""

    sim: str = "READY"
    """What +CPIN says; "" for no card."""
    registration: int = 1
    operator: str = "CHN-CT"
    cells: tuple[ServingCell, ...] = field(
        default_factory=lambda: (
            ServingCell("nr", "460", "11", "690E0F", "19013B004", 299, 633984, "n78", 100.0, 30, -107.0, -13.0, 2.0),
        )
    )

    @property
    def lte(self) -> ServingCell | None:
        return next((cell for cell in self.cells if cell.technology == "lte"), None)

    @property
    def nr(self) -> ServingCell | None:
        return next((cell for cell in self.cells if cell.technology == "nr"), None)


class AtTwin:
    """:ivar deaf: True: takes what is sent and answers nothing, as a modem that hangs"""

    def __init__(self, scene: Scene | None = None, echo: bool = False) -> None:
        self.scene = scene or Scene()
        self.echo = echo
        self.deaf = False
        self.refused: list[str] = []
        self.unsolicited: list[str] = []
        """Lines that come by themselves, one in the middle of each answer."""
        self._held = bytearray()

    @property
    def streaming(self) -> bool:
        return False

    def power_on(self) -> None:
        self._held.clear()

    def receive(self, chunk: bytes) -> bytes:
        self._held += chunk
        answers = bytearray()
        while b"\r" in self._held:
            command, _, rest = bytes(self._held).partition(b"\r")
            self._held = bytearray(rest)
            answers += self._answer(command.decode("ascii", "replace").strip())
        del self._held[:-LONGEST_COMMAND]
        return b"" if self.deaf else bytes(answers)

    def advance(self, elapsed_s: float) -> bytes:
        return b""

    def _answer(self, command: str) -> bytes:
        said = f"{command}\r" if self.echo else ""
        if self.unsolicited:
            said += f"\r\n{self.unsolicited.pop(0)}\r\n"
        lines = self.lines(command)
        if lines is None:
            self.refused.append(command)
            return (said + "\r\nERROR\r\n").encode()
        if lines and lines[-1].startswith("+CME ERROR"):
            return (said + f"\r\n{lines[-1]}\r\n").encode()
        return (said + "".join(f"\r\n{line}\r\n" for line in lines) + "\r\nOK\r\n").encode()

    def lines(self, command: str) -> list[str] | None:
        """The information lines of an answer, ended by "+CME ERROR: n" where that ends it; None: unknown command."""
        scene = self.scene
        access = 11 if scene.nr is not None and scene.lte is None else 13 if scene.nr is not None else 7
        match command:
            case "AT":
                return []
            case "AT+CPIN?":
                return [f"+CPIN: {scene.sim}"] if scene.sim else ["+CME ERROR: 10"]
            case "AT+COPS?":
                return [f'+COPS: 0,0,"{scene.operator}",{access}' if scene.cells else "+COPS: 0"]
            case "AT+CEREG?":
                return [f"+CEREG: 0,{scene.registration if scene.lte else 0}"]
            case "AT+C5GREG?":
                return [f"+C5GREG: 0,{0 if scene.lte else scene.registration}"]
        return None


class QuectelTwin(AtTwin):
    def lines(self, command: str) -> list[str] | None:
        scene = self.scene
        match command:
            case 'AT+QENG="servingcell"':
                return self._serving()
            case "AT+QCSQ":
                nr = scene.nr
                if nr is None:
                    return ['+QCSQ: "NOSERVICE"'] if scene.lte is None else ['+QCSQ: "LTE",-68,-100,110,-12']
                return [f'+QCSQ: "NR5G",{_int(nr.rsrp_dbm)},{_int(nr.sinr_db)},{_int(nr.rsrq_db)}']
            case "AT+QCAINFO":
                return [f'+QCAINFO: "PCC",{cell.arfcn},12,"BAND",1,{cell.pci}' for cell in scene.cells[:1]]
        return super().lines(command)

    def _serving(self) -> list[str]:
        nr, lte = self.scene.nr, self.scene.lte
        if nr is None and lte is None:
            return ['+QENG: "servingcell","SEARCH"']
        if lte is None:
            assert nr is not None
            return [
                f'+QENG: "servingcell","NOCONN","NR5G-SA","TDD",{nr.mcc},{nr.mnc},{nr.cell_id},{nr.pci},{nr.tac},'
                f"{nr.arfcn},{_number(nr.band)},{NR_BANDWIDTH.get(nr.bandwidth_mhz or 0, '-')},{_int(nr.rsrp_dbm)},"
                f"{_int(nr.rsrq_db)},{_int(nr.sinr_db)},{SPACING.get(nr.subcarrier_spacing_khz or 0, '-')},-"
            ]
        width = LTE_BANDWIDTH.get(lte.bandwidth_mhz or 0, "-")
        anchor = (
            f'"LTE","FDD",{lte.mcc},{lte.mnc},{lte.cell_id},{lte.pci},{lte.arfcn},{_number(lte.band)},{width},{width},'
            f"{lte.tac},{_int(lte.rsrp_dbm)},{_int(lte.rsrq_db)},-68,{_raw_sinr(lte.sinr_db)},0,-32768,27"
        )
        if nr is None:
            return [f'+QENG: "servingcell","NOCONN",{anchor}']
        return [
            '+QENG: "servingcell","NOCONN"',
            f"+QENG: {anchor}",
            f'+QENG: "NR5G-NSA",{nr.mcc},{nr.mnc},{nr.pci},{_int(nr.rsrp_dbm)},{_int(nr.sinr_db)},{_int(nr.rsrq_db)},'
            f"{nr.arfcn},{_number(nr.band)},{NR_BANDWIDTH.get(nr.bandwidth_mhz or 0, '-')},"
            f"{SPACING.get(nr.subcarrier_spacing_khz or 0, '-')}",
        ]


class FibocomTwin(AtTwin):
    """:param titled: True as FM150 and FM160 answer, False as FM350"""

    def __init__(self, scene: Scene | None = None, echo: bool = False, titled: bool = True) -> None:
        super().__init__(scene, echo)
        self.titled = titled

    def lines(self, command: str) -> list[str] | None:
        match command:
            case "AT+GTCCINFO?":
                lines = ["+GTCCINFO: "]
                for cell in self.scene.cells:
                    title = [f"{cell.technology.upper()} service cell:"] if self.titled else []
                    lines += [*title, self._cell(cell)]
                if self.scene.lte is not None:
                    lines.append("2,4,,,FFFF,00FFFFFFF,672,1F,,39,39,11")
                return lines
            case "AT+GTCAINFO?":
                return ["+GTCAINFO: ", *(f"PCC:{_fibocom_band(cell)},{cell.pci}" for cell in self.scene.cells)]
        return super().lines(command)

    def _cell(self, cell: ServingCell) -> str:
        nr = cell.technology == "nr"
        form = "X" if self.titled else "d"
        channel, pci = (format(value or 0, form) for value in (cell.arfcn, cell.pci))
        width = 100 if nr else LTE_BLOCKS.get(cell.bandwidth_mhz or 0, 255)
        rsrp = 255 if cell.rsrp_dbm is None else round(cell.rsrp_dbm + (156 if nr else 140))
        rsrq = 255 if cell.rsrq_db is None else round(2 * (cell.rsrq_db + (43 if nr else 20)))
        sinr = 255 if cell.sinr_db is None else round(2 * (cell.sinr_db + 23)) if nr else 20
        rat = 9 if nr else 4
        identity = f"{cell.mcc},{cell.mnc},{cell.tac or UNKNOWN},{cell.cell_id or UNKNOWN}"
        return f"1,{rat},{identity},{channel},{pci},{_fibocom_band(cell)},{width},{sinr},{rsrp},{rsrp},{rsrq}"


def _fibocom_band(cell: ServingCell) -> str:
    n = _number(cell.band)
    return f"50{n}" if cell.technology == "nr" else str(100 + int(n))


def _number(band: str | None) -> str:
    return (band or "").lstrip("nB")


def _int(value: float | None) -> str:
    return "-" if value is None else str(round(value))


def _raw_sinr(sinr_db: float | None) -> str:
    return "-" if sinr_db is None else str(round((sinr_db + 20) / 2))
