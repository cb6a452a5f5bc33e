"""A network camera that speaks RTSP (RFC 2326): H.264 over RTP, interleaved in the one TCP connection (10.12)."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from itertools import count

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.rtp import RtpPacket
from media_stage import moving

from telemedicine.media.h264 import LIBX264, RTP_TIME_BASE

WIDTH, HEIGHT, RATE_HZ = 320, 240, 25
CLOCK_HZ = 90_000


class RtspCamera:
    """One viewer at a time; ``unplug`` ends its connection as a pulled cable would, ``plug_in`` listens again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port: int = found.getsockname()[1]
        self._listener: socket.socket | None = None
        self._viewer: socket.socket | None = None
        self._unplugged = threading.Event()
        self.shown = 0
        """Number of the picture that was sent last."""

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/ultrasound"

    def plug_in(self) -> None:
        self._unplugged = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._listener, self._unplugged), daemon=True).start()

    def unplug(self) -> None:
        self._unplugged.set()
        for connection in (self._listener, self._viewer):
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()
        self._listener = self._viewer = None

    def _serve(self, listener: socket.socket, unplugged: threading.Event) -> None:
        while not unplugged.is_set():
            try:
                self._viewer, _ = listener.accept()
                with self._viewer as viewer, viewer.makefile("rb") as asked:
                    while (line := asked.readline()) and not unplugged.is_set():
                        headers = {}
                        while (header := asked.readline().strip()) != b"":
                            name, _, content = header.partition(b":")
                            headers[name.lower()] = content.strip()
                        if not self._answer(viewer, line.split(b" ")[0].decode(), headers[b"cseq"].decode()):
                            self._play(viewer, unplugged)
            except OSError:
                continue

    def _answer(self, viewer: socket.socket, method: str, sequence: str) -> bool:
        """Answer one request; False when it was PLAY."""
        more, body = "", ""
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            body += f"a=rtpmap:96 H264/{CLOCK_HZ}\r\na=fmtp:96 packetization-mode=1\r\na=control:picture\r\n"
            more = f"Content-Type: application/sdp\r\nContent-Base: {self.url}/\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        session = base64.b32encode(b"camera").decode().strip("=")
        viewer.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: {session}\r\n{more}\r\n{body}".encode())
        return method != "PLAY"

    def _play(self, viewer: socket.socket, unplugged: threading.Event) -> None:
        codec, packer = LIBX264.open(WIDTH, HEIGHT, RATE_HZ, 500_000), H264Encoder()
        began_s, sequence = time.monotonic(), count(1)
        for number in count(1):
            if unplugged.wait(max(0.0, began_s + number / RATE_HZ - time.monotonic())):
                return
            frame = av.VideoFrame.from_ndarray(moving(number), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number * CLOCK_HZ // RATE_HZ, RTP_TIME_BASE
            for packet in codec.encode(frame):
                payloads, timestamp = packer.pack(packet)
                for part, payload in enumerate(payloads):
                    last = part == len(payloads) - 1
                    data = RtpPacket(96, int(last), next(sequence) & 0xFFFF, timestamp, 1, payload).serialize()
                    viewer.sendall(b"$\0" + len(data).to_bytes(2, "big") + data)
            self.shown = number
