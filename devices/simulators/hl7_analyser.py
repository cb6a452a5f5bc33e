r"""Twin of an analyser that sends ORU^R01 over MLLP and waits for its ACK; without one it sends again after 10 s."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from devices.simulators.analyser_report import Found, SpecimenReport

START, END = b"\x0b", b"\x1c\r"
ANSWER_LIMIT_S = 10.0
MOST_TRIES = 3
SPECIAL = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}


def oru(report: SpecimenReport, control_id: str, sender: str = "TwinLab|BC-30") -> str:
    """The message of a haematology analyser that names LOINC codes, or, for ``urit``, of a URIT-8031."""
    urit = sender.startswith("urit")
    mode = "2" if report.control else "0"
    lines = [f"MSH|^~\\&|{sender}|||{report.said_at}||ORU^R01|{control_id}|P|2.3.1||||{mode}||UNICODE"]
    lines.append(f"PID|1||||{escaped(report.person)}")
    lines.append(f"OBR|1|{escaped(report.specimen)}|{control_id}|00001^Automated Count^99MRC|||{report.said_at}")
    lines += [_obx(n, found, urit) for n, found in enumerate(report.found, start=1)]
    return "\r".join(lines) + "\r"


def _obx(n: int, found: Found, urit: bool) -> str:
    test = f"{n}|{escaped(found.code)}" if urit else f"{found.loinc}^{escaped(found.code)}^LN|"
    flags = "~".join(found.flags)
    unit = found.unit  # "10^9/L" goes out as it is, as analysers do
    return f"OBX|{n}|NM|{test}|{escaped(found.said)}|{unit}|{found.reference_range}|{flags}|||F"


def escaped(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in text)


@dataclass(slots=True)
class Hl7AnalyserTwin:
    """
    :ivar answers: (code, control id) of every acknowledgement
    :ivar unheard: so many acknowledgements still go by unheard
    """

    sender: str = "TwinLab|BC-30"
    charset: str = "utf-8"
    unheard: int = 0
    answers: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    _messages: deque[tuple[str, bytes]] = field(default_factory=deque)
    _heard: bytearray = field(default_factory=bytearray)
    _waited_s: float | None = None
    _tries: int = 0
    _numbered: int = 0

    @property
    def streaming(self) -> bool:
        return False

    @property
    def waiting(self) -> int:
        """Messages without an answer."""
        return len(self._messages)

    def report(self, report: SpecimenReport) -> None:
        self._numbered += 1
        control_id = f"{report.said_at}{self._numbered:03}"
        self.send(control_id, oru(report, control_id, self.sender).encode(self.charset))

    def send(self, control_id: str, message: bytes) -> None:
        self._messages.append((control_id, START + message + END))

    def power_on(self) -> None:
        self._waited_s = None
        self._heard.clear()

    def receive(self, chunk: bytes) -> bytes:
        self._heard += chunk
        while END in self._heard:
            answer, _, rest = bytes(self._heard).partition(END)
            self._heard = bytearray(rest)
            self._answered(answer.decode("utf-8", "replace"))
        return b""

    def advance(self, elapsed_s: float) -> bytes:
        if not self._messages:
            return b""
        if self._waited_s is not None:
            self._waited_s += elapsed_s
            if self._waited_s < ANSWER_LIMIT_S:
                return b""
        self._tries += 1
        if self._tries > MOST_TRIES:
            self._next()
            return b""
        self._waited_s = 0.0
        self.sent += 1
        return self._messages[0][1]

    def _answered(self, answer: str) -> None:
        found = re.search(r"MSA\|(A[AER])\|([^|\r]*)", answer)
        if found is None or not self._messages or found.group(2) != self._messages[0][0]:
            return
        if self.unheard:
            self.unheard -= 1
            return
        self.answers.append((found.group(1), found.group(2)))
        self._next()

    def _next(self) -> None:
        self._messages.popleft()
        self._waited_s, self._tries = None, 0
