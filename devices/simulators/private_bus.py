"""A D-Bus of our own: a private dbus-daemon and a tree of objects on it, served message by message.

The tree is a plain table (path -> interface -> property -> value), so a service that has to misbehave on demand, to
forget an object at a bad moment or to answer each caller differently, stays one line away.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from dbus_fast import Message, MessageType, Variant

from devices.errors import AskPerson
from devices.links.dbus_send import MessageBus

PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

MAX_SOCKET_PATH_BYTES = 107
"""sun_path of unix(7) without its closing zero."""

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"""


class DbusDaemonMissing(AskPerson):
    code = "dbus_daemon_missing"


class FolderTooLong(AskPerson):
    code = "folder_too_long"


class PrivateBus:
    """One dbus-daemon with its socket in ``folder``; may be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix:path={folder / 'bus'}"
        self._folder = folder
        self._daemon: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when the bus takes connections.

        :raises DbusDaemonMissing: the program is not on this machine; the message names the package.
        :raises FolderTooLong: the kernel takes no socket of that name.
        """
        program = shutil.which("dbus-daemon")
        if program is None:
            raise DbusDaemonMissing("dbus-daemon is not installed (package dbus)")
        if len(str(self._folder / "bus").encode()) > MAX_SOCKET_PATH_BYTES:
            raise FolderTooLong(f"{self._folder}: too long for a socket in it; choose a shorter path")
        (self._folder / "bus").unlink(missing_ok=True)
        configuration = self._folder / "bus.conf"
        configuration.write_text(CONFIGURATION.format(socket=escape(str(self._folder / "bus"))), encoding="utf-8")
        with (self._folder / "bus.log").open("ab") as log:
            self._daemon = await asyncio.create_subprocess_exec(
                program,
                f"--config-file={configuration}",
                "--nofork",
                "--nopidfile",
                "--print-address=1",
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={name: text for name, text in os.environ.items() if name != "NOTIFY_SOCKET"},
            )  # dbus-daemon would say READY in our name
        assert self._daemon.stdout is not None
        if not await self._daemon.stdout.readline():
            raise OSError(f"dbus-daemon ended at once with status {await self._daemon.wait()}: see {log.name}")

    async def kill(self) -> None:
        """As a crash does it: every connection breaks, nothing is said."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None and daemon.returncode is None:
            daemon.kill()
            await daemon.wait()


class Refused(Exception):
    """A D-Bus error reply: ``Refused("org.bluez.Error.Failed", "Not connected")``."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name, self.text = name, text


@dataclass(frozen=True, slots=True)
class Call:
    """A method call as it came: object, who calls (unique bus name), arguments."""

    path: str
    sender: str
    body: list[Any]


@dataclass(frozen=True, slots=True)
class Reply:
    signature: str = ""
    body: tuple[Any, ...] = ()


Method = Callable[[Call], Awaitable[Reply | None]]


class ObjectTree:
    """Objects with properties and methods under one bus name, with ObjectManager and Properties.

    ``methods`` maps (interface, member) to a coroutine function; calls for objects that are not in the tree are refused
    as UnknownObject. ``on_leave`` is told the unique name of each client that left the bus.
    """

    def __init__(self, name: str, on_leave: Callable[[str], None]) -> None:
        self.methods: dict[tuple[str, str], Method] = {
            (OBJECT_MANAGER, "GetManagedObjects"): self._managed_objects,
            (PROPERTIES, "Get"): self._get,
            (PROPERTIES, "GetAll"): self._get_all,
            (PROPERTIES, "Set"): self._set,
        }
        self.on_set: Callable[[str, str, str, Any], Awaitable[None]] | None = None
        self._name = name
        self._on_leave = on_leave
        self._objects: dict[str, dict[str, dict[str, Variant]]] = {}
        self._bus: MessageBus | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, address: str) -> None:
        self._bus = await MessageBus(bus_address=address).connect()
        self._bus.add_message_handler(self._on_message)
        await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'"],
            )
        )
        await self._bus.request_name(self._name)

    async def disconnect(self) -> None:
        bus, self._bus = self._bus, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if bus is not None:
            bus.disconnect()

    def paths(self) -> list[str]:
        return list(self._objects)

    def add(self, path: str, interfaces: dict[str, dict[str, Variant]]) -> None:
        self._objects.setdefault(path, {}).update(interfaces)
        self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def announce(self) -> None:
        """Tell of every object as if it were new, as a service does that was started again."""
        for path, interfaces in self._objects.items():
            self._signal("/", OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def remove(self, path: str) -> None:
        interfaces = self._objects.pop(path, None)
        if interfaces is not None:
            self._signal("/", OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, list(interfaces)])

    def change(self, path: str, interface: str, **values: Variant) -> None:
        """Set properties and tell it, also where the value is the same as before."""
        if path not in self._objects:
            return
        self._objects[path][interface].update(values)
        self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [interface, values, []])

    def value(self, path: str, interface: str, name: str) -> Any:
        return self._objects[path][interface][name].value

    async def ask(self, destination: str, path: str, interface: str, member: str, signature: str, *body: Any) -> Any:
        """Call a client's method (an agent's); its first result.

        :raises Refused: the client answered with an error or is gone.
        """
        if self._bus is None:
            raise Refused("org.freedesktop.DBus.Error.Disconnected", "the bus is gone")
        answer = await self._bus.call(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert answer is not None
        if answer.message_type is MessageType.ERROR:
            raise Refused(answer.error_name or "", str(answer.body[0]) if answer.body else "")
        return answer.body[0] if answer.body else None

    # messages

    def _on_message(self, message: Message) -> bool:
        if message.member == "NameOwnerChanged" and message.message_type is MessageType.SIGNAL:
            name, _, owner = message.body
            if name.startswith(":") and not owner:
                self._on_leave(name)
            return False
        method = self.methods.get((message.interface or "", message.member or ""))
        if message.message_type is not MessageType.METHOD_CALL or method is None:
            return False
        task = asyncio.get_running_loop().create_task(self._serve(message, method))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _serve(self, message: Message, method: Method) -> None:
        bus = self._bus
        path = message.path or ""
        try:
            if path not in self._objects and (message.interface, message.member) != (
                OBJECT_MANAGER,
                "GetManagedObjects",
            ):
                raise Refused("org.freedesktop.DBus.Error.UnknownObject", f"no object {path}")
            reply = await method(Call(path, message.sender or "", message.body)) or Reply()
            answer = Message.new_method_return(message, reply.signature, list(reply.body))
        except Refused as refusal:
            answer = Message.new_error(message, refusal.name, refusal.text)
        if bus is not None and bus.connected:
            await bus.send(answer)

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))

    async def _managed_objects(self, call: Call) -> Reply:
        return Reply("a{oa{sa{sv}}}", (self._objects,))

    async def _get(self, call: Call) -> Reply:
        interface, name = call.body
        try:
            return Reply("v", (self._objects[call.path][interface][name],))
        except KeyError:
            raise Refused("org.freedesktop.DBus.Error.InvalidArgs", f"no property {interface}.{name}") from None

    async def _get_all(self, call: Call) -> Reply:
        return Reply("a{sv}", (self._objects[call.path].get(call.body[0], {}),))

    async def _set(self, call: Call) -> None:
        interface, name, variant = call.body
        if self.on_set is not None:
            await self.on_set(call.path, interface, name, variant.value)
        self.change(call.path, interface, **{name: variant})
