"""Invented people for the demo: no place has the area code 999901, so nobody has these identity numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import date, timedelta

from vehicle.clinic.identity import check_digit

SURNAMES = "杨陈罗马何田石周吴赵李王张刘黄孙胡朱高林郑梁谢宋唐许邓冯韩曹"
GIVEN_FEMALE = (
    "桂芳",
    "秀珍",
    "玉兰",
    "翠花",
    "春梅",
    "素华",
    "国英",
    "淑芬",
    "小琴",
    "明秀",
    "月娥",
    "冬梅",
    "金莲",
    "海燕",
)
GIVEN_MALE = (
    "国梁",
    "长顺",
    "志明",
    "成林",
    "建国",
    "大勇",
    "文斌",
    "永福",
    "德贵",
    "光荣",
    "世平",
    "天才",
    "学军",
    "守义",
)


@dataclass(frozen=True, slots=True)
class Resident:
    name: str
    sex: str
    born_on: date
    id_number: str
    address: str
    systolic_mmhg: int
    diastolic_mmhg: int
    glucose_mmol_l: float
    spo2_percent: int
    pulse_bpm: int

    @property
    def fibrillates(self) -> bool:
        """About one in six of those born before 1957 has atrial fibrillation."""
        return self.born_on.year < 1957 and int(self.id_number[-4:-1]) % 6 == 0

    def on(self, day: date) -> Resident:
        """The same person as measured that day: nobody has the value of last time to the digit."""
        chance = random.Random(f"{self.id_number} on {day}")
        systolic = self.systolic_mmhg + round(chance.gauss(0, 6))
        return replace(
            self,
            systolic_mmhg=systolic,
            diastolic_mmhg=self.diastolic_mmhg + round((systolic - self.systolic_mmhg) * 0.4 + chance.gauss(0, 2)),
            glucose_mmol_l=round(max(3.6, self.glucose_mmol_l + chance.gauss(0, 0.04 * self.glucose_mmol_l)), 1),
            spo2_percent=min(99, self.spo2_percent + chance.choice((-1, 0, 0, 1))),
            pulse_bpm=self.pulse_bpm + round(chance.gauss(0, 3)),
        )


def id_number(area: str, born_on: date, order: int) -> str:
    """18 characters of a resident identity number with its check digit (GB 11643, ISO 7064 MOD 11-2)."""
    body = f"{area}{born_on:%Y%m%d}{order:03d}"
    return body + check_digit(body)


def residents(village_code: str, village_name: str, count: int) -> list[Resident]:
    """The same ``count`` people of a village at every call; about two in five have raised blood pressure."""
    chance = random.Random(f"residents of {village_code}")
    people = []
    for number in range(count):
        female = chance.random() < 0.55
        born_on = date(1938, 1, 1) + timedelta(days=int(chance.triangular(0, 365 * 52, 365 * 16)))
        raised = chance.random() < 0.4
        systolic = int(chance.gauss(158, 11) if raised else chance.gauss(124, 9))
        order = (int(village_code[-2:]) * 50 + number) % 499 * 2 + (0 if female else 1)
        people.append(
            Resident(
                name=chance.choice(SURNAMES) + chance.choice(GIVEN_FEMALE if female else GIVEN_MALE),
                sex="female" if female else "male",
                born_on=born_on,
                id_number=id_number("999901", born_on, order),
                address=f"青峪县白果镇{village_name}{chance.randint(1, 9)}组{chance.randint(1, 80)}号",
                systolic_mmhg=systolic,
                diastolic_mmhg=int(systolic * 0.6 + chance.gauss(3, 4)),
                glucose_mmol_l=round(
                    max(3.6, chance.gauss(8.6, 1.9) if chance.random() < 0.22 else chance.gauss(5.5, 0.5)), 1
                ),
                spo2_percent=min(99, int(chance.gauss(96.4, 1.1))),
                pulse_bpm=int(chance.gauss(75, 8)),
            )
        )
    return people
