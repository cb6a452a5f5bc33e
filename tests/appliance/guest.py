"""Inside the appliance: three doors to the outside, and two programs behind them.

TCP 7001: each connection is one to the system bus. TCP 7002: each connection is a new Bluetooth controller (/dev/vhci),
HCI packets in H:4 framing (Core Specification, Vol 4, Part A). TCP 7003: a line "start NAME", "kill NAME" or
"stop NAME" for a NAME of ``PROGRAMS``, answered with "done". Nothing but the standard library, and little of it: an
import takes long in here.
"""

import os
import signal
import socket
import struct
import threading
import time

BUS_SOCKET = "/run/dbus/system_bus_socket"
PROGRAMS = {
    "dbus-daemon": ("/usr/bin/dbus-daemon", "--config-file=/guest/guest_bus.conf", "--nofork", "--nopidfile"),
    "bluetoothd": ("/usr/libexec/bluetooth/bluetoothd", "-n"),
}
HEADER_BYTES = {1: 3, 2: 4, 3: 3, 4: 2, 5: 4}
"""Packet indicator (command, ACL, SCO, event, ISO) -> size of the header, in which the length of the rest stands."""

running = {}
"""Name -> (process id, the thread that waits for its end)."""


def start(name):
    if name in running and running[name][1].is_alive():
        return
    process = os.posix_spawn(PROGRAMS[name][0], PROGRAMS[name], os.environ)
    waiting = threading.Thread(target=await_end, args=(name, process), daemon=True)
    running[name] = process, waiting
    waiting.start()
    while name == "dbus-daemon" and not is_listening():
        time.sleep(0.02)


def is_listening():
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(BUS_SOCKET) == 0


def await_end(name, process):
    _, status = os.waitpid(process, 0)
    print(f"appliance: {name} ended with {os.waitstatus_to_exitcode(status)}", flush=True)


def end(name, how):
    process, waiting = running.pop(name)
    if waiting.is_alive():
        os.kill(process, how)
    waiting.join()


def control(connection):
    with connection, connection.makefile("rw") as lines:
        for line in lines:
            deed, name = line.split()
            if deed == "start":
                start(name)
            else:
                end(name, signal.SIGKILL if deed == "kill" else signal.SIGTERM)
            lines.write("done\n")
            lines.flush()


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    except OSError:
        pass
    for one in (source, sink):
        try:  # noqa: SIM105  an import takes long in here
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def bus(connection):
    daemon = socket.socket(socket.AF_UNIX)
    try:
        daemon.connect(BUS_SOCKET)
    except OSError:
        connection.close()
        return
    back = threading.Thread(target=pump, args=(daemon, connection), daemon=True)
    back.start()
    pump(connection, daemon)
    back.join()
    connection.close()
    daemon.close()


def controller(connection):
    device = os.open("/dev/vhci", os.O_RDWR)
    os.write(device, b"\xff\x00")  # vendor packet: a new controller; it answers with the same indicator

    def up():
        try:
            while packet := os.read(device, 4096):
                if packet[0] != 0xFF:
                    connection.sendall(packet)
        except OSError:
            pass

    threading.Thread(target=up, daemon=True).start()
    stream = connection.makefile("rb")
    while packet := read_packet(stream):
        os.write(device, packet)
    os.close(device)
    connection.close()


def read_packet(stream):
    """One whole packet, since /dev/vhci takes one for each write; empty at the end of the stream."""
    start_of_it = stream.read(1)
    if not start_of_it:
        return b""
    header = stream.read(HEADER_BYTES[start_of_it[0]])
    rest = struct.unpack("<H", header[2:4])[0] if start_of_it[0] in (2, 5) else header[-1]
    return start_of_it + header + stream.read(rest)


def serve(door, behind):
    while True:
        connection, _ = door.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=behind, args=(connection,), daemon=True).start()


for program in PROGRAMS:
    start(program)
doors = [socket.create_server(("0.0.0.0", port), backlog=64) for port in (7001, 7002, 7003)]
for door_of_it, what in zip(doors, (bus, controller), strict=False):
    threading.Thread(target=serve, args=(door_of_it, what), daemon=True).start()
print("appliance: ready", flush=True)
serve(doors[2], control)
