"""A virtual org.freedesktop.ModemManager1 on a private bus: one modem, with the properties and types of the real one.

Source: ModemManager D-Bus API 1.20 (introspection XML); ``introspected`` types: State i, AccessTechnologies u,
RegistrationState u, Lte and Nr5g a{sv} of doubles, GetCellInfo aa{sv}, GetLocation a{uv}.
"""

from __future__ import annotations

import sys

from dbus_fast import Variant

from devices.readings import ServingCell
from devices.simulators.at_modem import Scene
from devices.simulators.private_bus import Call, ObjectTree, Refused, Reply

NAME = "org.freedesktop.ModemManager1"
MODEM = f"{NAME}.Modem"
PATH = "/org/freedesktop/ModemManager1/Modem/0"
ERROR = f"{NAME}.Error.Core"
UNKNOWN_SIGNAL = -sys.float_info.max
LTE_BIT, NR_BIT = 1 << 14, 1 << 15


class VirtualModemManager:
    """:ivar scene: where the modem stands; ``tell`` puts it on the bus
    :ivar refused: members that answer Unauthorized or Unsupported
    """

    def __init__(self, address: str, scene: Scene | None = None) -> None:
        """:param address: of the bus, one of our own (``PrivateBus``)"""
        self._address = address
        self.scene = scene or Scene()
        self.refused: set[str] = set()
        self.calls: list[tuple[str, list[object]]] = []
        self.tree = self._tree()

    async def appear(self) -> None:
        """ModemManager comes onto the bus, with its modem."""
        self.tree = self._tree()
        await self.tree.connect(self._address)
        self.tell()

    async def vanish(self) -> None:
        """ModemManager ends; the bus stays."""
        await self.tree.disconnect()

    def tell(self) -> None:
        self.tree.add(PATH, self._properties())

    def unplug(self) -> None:
        self.tree.remove(PATH)

    def _tree(self) -> ObjectTree:
        tree = ObjectTree(NAME, lambda name: None)
        tree.methods |= {
            (MODEM, "GetCellInfo"): self._cell_info,
            (f"{MODEM}.Signal", "Setup"): self._signal_setup,
            (f"{MODEM}.Location", "Setup"): self._location_setup,
            (f"{MODEM}.Location", "GetLocation"): self._location,
        }
        return tree

    def _properties(self) -> dict[str, dict[str, Variant]]:
        scene = self.scene
        bits = sum((NR_BIT if cell.technology == "nr" else LTE_BIT) for cell in scene.cells)
        state = -1 if not scene.sim else 2 if scene.sim != "READY" else 11 if scene.cells else 7
        lock = {"READY": 1, "SIM PIN": 2, "SIM PUK": 4}.get(scene.sim, 0)
        return {
            MODEM: {
                "State": Variant("i", state),
                "StateFailedReason": Variant("u", 2 if not scene.sim else 0),
                "UnlockRequired": Variant("u", lock),
                "AccessTechnologies": Variant("u", bits),
                "SignalQuality": Variant("(ub)", (71, True)),
                "EquipmentIdentifier": Variant("s", "000000000000000"),
            },
            f"{MODEM}.Modem3gpp": {
                "RegistrationState": Variant("u", scene.registration),
                "OperatorName": Variant("s", scene.operator if scene.cells else ""),
                "OperatorCode": Variant("s", "46011" if scene.cells else ""),
            },
            f"{MODEM}.Signal": {
                "Rate": Variant("u", 0),
                "Lte": Variant("a{sv}", _signal(scene.lte)),
                "Nr5g": Variant("a{sv}", _signal(scene.nr)),
            },
            f"{MODEM}.Location": {
                "Capabilities": Variant("u", 0b101),
                "Enabled": Variant("u", 0),
                "SignalsLocation": Variant("b", False),
            },
        }

    async def _cell_info(self, call: Call) -> Reply:
        self._admit("GetCellInfo", call)
        served = [_cell(cell, True) for cell in self.scene.cells]
        neighbour = ServingCell("lte", pci=31, arfcn=1650, rsrp_dbm=-111.0)
        return Reply("aa{sv}", ([*served, _cell(neighbour, False)],))

    async def _signal_setup(self, call: Call) -> None:
        self._admit("Signal.Setup", call)
        self.tree.change(PATH, f"{MODEM}.Signal", Rate=Variant("u", call.body[0]))

    async def _location_setup(self, call: Call) -> None:
        self._admit("Location.Setup", call)
        self.tree.change(PATH, f"{MODEM}.Location", Enabled=Variant("u", call.body[0]))

    async def _location(self, call: Call) -> Reply:
        self._admit("GetLocation", call)
        if not self.tree.value(PATH, f"{MODEM}.Location", "Enabled") & 1 or not self.scene.cells:
            return Reply("a{uv}", ({},))
        cell = self.scene.cells[0]
        said = f"{cell.mcc},{cell.mnc},0,{cell.cell_id or '0':0>8},{cell.tac or '0':0>6}"
        return Reply("a{uv}", ({1: Variant("s", said)},))

    def _admit(self, member: str, call: Call) -> None:
        self.calls.append((member, call.body))
        if member in self.refused:
            raise Refused(f"{ERROR}.Unauthorized", "PolicyKit authorization failed")


def _signal(cell: ServingCell | None) -> dict[str, Variant]:
    if cell is None:
        return {}
    said = {"rsrp": cell.rsrp_dbm, "rsrq": cell.rsrq_db, "snr": cell.sinr_db}
    return {name: Variant("d", UNKNOWN_SIGNAL if value is None else value) for name, value in said.items()}


def _cell(cell: ServingCell, serving: bool) -> dict[str, Variant]:
    nr = cell.technology == "nr"
    said = {"cell-type": Variant("u", 6 if nr else 5), "serving": Variant("b", serving)}
    if cell.mcc is not None:
        said["operator-id"] = Variant("s", f"{cell.mcc}{cell.mnc}")
    for name, text in (("tac", cell.tac), ("ci", cell.cell_id)):
        if text is not None:
            said[name] = Variant("s", f"{text:0>6}")
    if cell.pci is not None:
        said["physical-ci"] = Variant("s", f"{cell.pci:X}")
    if cell.arfcn is not None:
        said["nrarfcn" if nr else "earfcn"] = Variant("u", cell.arfcn)
    return said
