"""The demo's folder: where each process finds its settings, keys, data and sockets."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

TOWNSHIP = Path(str(resources.files("xunzhen.demo"))) / "township.geojson"
COUNTY_NAME = "青峪县"


@dataclass(frozen=True, slots=True)
class Staff:
    id: str
    name: str
    role: str
    secret: str
    """PIN on the van, password at the county. Only ever in the demo: outside it there are no default accounts."""


CREWS: dict[str, tuple[Staff, ...]] = {
    "van-07": (
        Staff("zhou.min", "周敏", "village_doctor", "2580"),
        Staff("wu.qian", "吴倩", "nurse", "1357"),
        Staff("zhao.hai", "赵海", "driver", "2468"),
    ),
    "van-09": (
        Staff("luo.wen", "罗文", "doctor", "2580"),
        Staff("ma.lan", "马兰", "nurse", "1357"),
        Staff("tang.cheng", "唐诚", "village_doctor", "1470"),
    ),
}
PLATES = {"van-07": "川A·演07", "van-09": "川A·演09"}
LIVE_VAN = "van-07"
SPECIALIST = Staff("shen.ruochuan", "沈若川", "specialist", "demo-shen-2580")
ADMINISTRATOR = Staff("xu.jing", "许静", "administrator", "demo-xu-2580")


@dataclass(frozen=True, slots=True)
class Ports:
    touchscreen: int
    county: int
    witness: int = 0
    analyser: int = 0
    """Where the van waits for its haematology analyser; 0: it has none."""
    printer: int = 0
    """Where the slip printer waits for the van; 0: it has none."""


@dataclass(frozen=True, slots=True)
class Home:
    """All paths of one demo; nothing is written outside ``folder``."""

    folder: Path
    ports: Ports

    @property
    def run(self) -> Path:
        """Sockets, pty links and logs: rebuilt at every start."""
        return self.folder / "run"

    @property
    def devices(self) -> Path:
        return self.run / "ports"

    @property
    def control(self) -> Path:
        """The simulators' control socket."""
        return self.run / "simulators.sock"

    @property
    def vehicle_socket(self) -> Path:
        return self.run / "vehicle.sock"

    @property
    def consultation_socket(self) -> Path:
        return self.run / "consultation.sock"

    @property
    def slips(self) -> Path:
        """What the simulated printer has printed, as pictures."""
        return self.folder / "slips"

    @property
    def clips(self) -> Path:
        return self.folder / "clips"

    @property
    def outside_clip(self) -> Path:
        """What the camera that looks out of the live van sees."""
        return self.clips / "outside.mp4"

    @property
    def township(self) -> Path:
        return TOWNSHIP

    def vehicle_data(self, vehicle: str) -> Path:
        return self.folder / vehicle

    def vehicle_settings(self, vehicle: str) -> Path:
        return self.folder / f"{vehicle}.toml"

    @property
    def county_data(self) -> Path:
        return self.folder / "county"

    @property
    def county_settings(self) -> Path:
        return self.folder / "county.toml"

    @property
    def witness_settings(self) -> Path:
        return self.folder / "witness.toml"

    @property
    def consultation_settings(self) -> Path:
        return self.folder / "consultation.toml"

    @property
    def touchscreen_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.touchscreen}/"

    @property
    def county_url(self) -> str:
        """To a browser another place than the specialist's: both can be signed in at once, side by side."""
        return f"http://localhost:{self.ports.county}/"

    @property
    def witness_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.witness}/"

    @property
    def specialist_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.county}/specialist"

    def origin(self, vehicle: str) -> str:
        return f"{vehicle}.qingyu.example"
