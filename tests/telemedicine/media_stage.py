"""Pictures on demand and an MJPEG camera on HTTP, for the tests of the media engine."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import numpy.typing as npt

from telemedicine.media.ladder import shapes
from telemedicine.media.rung import RungShape
from telemedicine.media.sources import Frame, SourceState

Image = npt.NDArray[np.uint8]
SMALL = RungShape("whole", 320, 240, 30, 100_000, 800_000, 400_000, 150_000)
WHOLE_AND_SMALL = shapes(1280, 720, 30, 300_000, 3_000_000)


def moving(number: int, width: int = 320, height: int = 240) -> Image:
    """Picture ``number`` of a bright square that moves over a grey ground with texture."""
    ground = np.random.default_rng(7).integers(60, 100, (height, width, 3), dtype=np.uint8)
    left = number * 7 % (width - 40)
    cv2.rectangle(ground, (left, 80), (left + 40, 140), (240, 240, 240), -1)
    return ground


class PushedPictures:
    """A source that gives a picture when the test says so, at the time the test says."""

    feed = "room"
    frame_rate_hz = 30.0

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._asked = -1

    @property
    def state(self) -> SourceState:
        return SourceState.LIVE if self.opened > self.closed else SourceState.CLOSED

    def start(self) -> None:
        self.opened += 1

    def stop(self) -> threading.Thread | None:
        self.closed += 1
        return None

    def push(self, captured_mono_s: float, image: Image | None = None, missed: int = 0) -> None:
        """The next picture; ``missed`` pictures before it came and went unseen."""
        with self._changed:
            number = (self._frame.number if self._frame is not None else 0) + 1 + missed
            self._frame = Frame(moving(number) if image is None else image, number, captured_mono_s)
            self._changed.notify_all()

    def newer(self, than: int, timeout_s: float) -> Frame | None:
        with self._changed:
            self._asked = than
            self._changed.notify_all()
            found = self._changed.wait_for(lambda: self._frame is not None and self._frame.number > than, timeout_s)
            return self._frame if found else None

    def wait_done(self) -> None:
        """Until the reader has finished with the newest picture and asks for the next.

        :raises TimeoutError: it does not
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None and self._asked >= self._frame.number, 20.0):
                raise TimeoutError("nobody reads the pictures")


class MjpegCamera:
    """A network camera: ``multipart/x-mixed-replace`` on a port of its own; it can be unplugged and plugged in."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self._server: ThreadingHTTPServer | None = None
        self._unplugged = threading.Event()
        self.hangs = threading.Event()
        """While set, the camera keeps its connections and sends nothing."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/camera.mjpg"

    def plug_in(self) -> None:
        unplugged, hangs = self._unplugged, self.hangs
        unplugged.clear()

        class Pictures(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                number = 0
                while not unplugged.wait(0.04):
                    if hangs.is_set():
                        continue
                    number += 1
                    jpeg = cv2.imencode(".jpg", moving(number))[1].tobytes()
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                    except OSError:
                        return

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self.port), Pictures)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def unplug(self) -> None:
        self._unplugged.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
