"""The uplink between van and county as a TCP relay that can be cut and given back."""

from __future__ import annotations

import contextlib
import socket
import threading


class Relay:
    """Listens on ``port`` and passes bytes to ``target``; ``cut`` breaks every connection and refuses new ones."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._up = threading.Event()
        self._up.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._up.clear()
        with self._lock:
            for end in self._open:
                _reset(end)
            self._open.clear()

    def restore(self) -> None:
        self._up.set()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._up.is_set():
                    _reset(near)
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    _reset(near)
                    continue
                with self._lock:
                    self._open |= {near, far}
                for here, there in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(here, there), daemon=True).start()

    def _pass(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := here.recv(65536):
                there.sendall(piece)
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    """RST instead of FIN: the way a lost link feels."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        end.close()
