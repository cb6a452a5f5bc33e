"""Plays the people of a morning: who comes in holds the card to the reader, then the cuff, finger clip and meter speak.

The far ends only: everything goes through the simulators' control socket, as bytes of the devices. The player follows
the doctor: the next person comes when a visit is open and nobody is being served, and is measured once served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from devices.clock import Clock
from sync.proof.presence import LOCAL
from xunzhen.demo.residents import Resident

BEFORE_NEXT_S = 6.0
CARD_ON_READER_S = 8.0
FINGER_IN_S = 26.0
ANALYSER_TAKES_S = 12.0
"""From the tube to the result: shorter than life, so that one sees it."""
OLD_STRIP = 7
"""The urine reader still holds a strip that nobody on board wrote down: it waits to be claimed."""
BLOOD_COUNT = (
    ("WBC", "6.40", "10*9/L", "4.00-10.00", "N", "6690-2"),
    ("NEU%", "58.3", "%", "50.0-70.0", "N", "770-8"),
    ("LYM%", "33.1", "%", "20.0-40.0", "N", "736-9"),
    ("RBC", "3.42", "10*12/L", "3.50-5.50", "L", "789-8"),
    ("HGB", "98", "g/L", "110-160", "L", "718-7"),
    ("HCT", "30.9", "%", "37.0-54.0", "L", "4544-3"),
    ("MCV", "90.4", "fL", "80.0-100.0", "N", "787-2"),
    ("PLT", "188", "10*9/L", "100-300", "N", "777-3"),
    ("MPV", "**.*", "fL", "6.5-12.0", "A", "32623-1"),
)
"""code, result, unit, range, flag, LOINC."""
STRIP = {"LEU": 1, "PRO": 2, "PH": 2, "SG": 3, "GLU": 3}


class Simulators:
    """The control socket: one JSON line there, one back."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def do(self, command: str, **facts: Any) -> dict[str, Any]:
        """Send one command and return the reply.

        :raises OSError: the simulators are not running
        :raises ValueError: they refused the command, the message says why; or they ended before they answered
        """
        reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=1 << 24)
        try:
            writer.write(json.dumps({"do": command, **facts}, ensure_ascii=False).encode() + b"\n")
            await writer.drain()
            answer: dict[str, Any] = json.loads(await reader.readline())
        finally:
            writer.close()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer


class Morning:
    """The player. ``journal`` is the van's database, only read.

    :param meters: whether there are a cuff and a glucose meter (the Bluetooth devices of the demo)
    """

    def __init__(
        self, simulators: Simulators, journal: Path, people: Sequence[Resident], clock: Clock, meters: bool
    ) -> None:
        self._simulators = simulators
        self._journal = journal
        self._people = cycle(people)
        self._clock = clock
        self._meters = meters
        self._analysed: set[str] = set()
        """Specimens that an analyser has had."""
        self._old_strip_read = False

    async def play(self) -> None:
        """For ever: one person after the other, at the doctor's pace."""
        while True:
            with contextlib.suppress(OSError, ValueError, sqlite3.OperationalError):  # a service is down: once more
                await self._next_person()
            await self._clock.sleep(2.0)

    async def _next_person(self) -> None:
        if not self._visit_open() or self._served():
            return
        await self._clock.sleep(BEFORE_NEXT_S)
        person = next(self._people)
        await self._simulators.do(
            "card",
            name=person.name,
            sex=person.sex,
            born_on=person.born_on.isoformat(),
            id_number=person.id_number,
            address=person.address,
        )
        await self._clock.sleep(CARD_ON_READER_S)
        await self._simulators.do("card_off")
        served = self._served()
        if served:
            await self._measure(person.on(self._clock.now().astimezone(LOCAL).date()))
        while self._served() == served and self._visit_open():
            await self._analyse()
            await self._clock.sleep(2.0)

    async def _measure(self, person: Resident) -> None:
        with contextlib.suppress(ValueError):  # a record is played instead
            await self._simulators.do("heart", heart_rate_bpm=person.pulse_bpm, fibrillating=person.fibrillates)
        await self._simulators.do("finger", on=True, spo2_percent=person.spo2_percent, pulse_bpm=person.pulse_bpm)
        await self._clock.sleep(6.0)
        if self._meters:
            await self._simulators.do(
                "blood_pressure",
                systolic_mmhg=person.systolic_mmhg,
                diastolic_mmhg=person.diastolic_mmhg,
                pulse_bpm=person.pulse_bpm,
            )
        await self._clock.sleep(8.0)
        if self._meters:
            await self._simulators.do("glucose", glucose_mmol_l=person.glucose_mmol_l)
        await self._clock.sleep(FINGER_IN_S - 14.0)
        await self._simulators.do("finger", on=False, spo2_percent=person.spo2_percent, pulse_bpm=person.pulse_bpm)

        if not self._old_strip_read:
            self._old_strip_read = True
            await self._simulators.do("urine", number=OLD_STRIP, levels={})

    async def _analyse(self) -> None:
        """Somebody carries the new tubes and cups to the analysers and types their numbers there."""
        for specimen, number, material in self._ask(
            "select specimen, number, material from specimens where discarded_at is null order by taken_at"
        ):
            if specimen in self._analysed:
                continue
            self._analysed.add(specimen)
            await self._clock.sleep(ANALYSER_TAKES_S)
            with contextlib.suppress(ValueError):  # a number that the urine reader cannot show
                if material == "urine":
                    await self._simulators.do("urine", number=int(number), levels=STRIP)
                else:
                    await self._simulators.do("blood_count", specimen=number, found=_found())

    def _visit_open(self) -> bool:
        return bool(self._ask("select 1 from visits where closed_at is null limit 1"))

    def _served(self) -> str | None:
        rows = self._ask("select encounter from encounters where closed_at is null order by opened_at desc limit 1")
        return str(rows[0][0]) if rows else None

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self._journal}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()


def _found() -> list[dict[str, Any]]:
    names = ("code", "said", "unit", "reference_range", "flags", "loinc")
    rows = (dict(zip(names, row, strict=True)) for row in BLOOD_COUNT)
    return [row | {"flags": [row["flags"]]} for row in rows]
