"""Keeps pictures of pages with a sentence each, and writes the page that shows them."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

LOOKS = {"zh": "中文", "en": "English", "night": "by night", "1920x1080": "at 1920x1080", "1024x768": "at 1024x768"}
COLOURS = 256
"""Of a kept picture: pages are flat, so that a palette takes a third of the room and nobody sees it."""

SECTIONS: dict[str, dict[str, str]] = {
    "The village doctor's touchscreen: the day": {
        "sign-in": "Who uses it, by name and PIN; where the van stands; the emergency button works without a PIN.",
        "today-start": "The village is proposed from the position; crew and start are one tap.",
        "today-confirm-village": "The village doctor confirms with the PIN that the van is here.",
        "today-outreach": "A health talk, noted in two taps.",
        "visit-photo": "The van at the village sign: one touch takes the photo, a second keeps it.",
        "visit-signature": "Somebody of the village signs that the van was there.",
        "today": "The visit's clock, who waits, whose follow-up is due here, what the county still lacks.",
        "due-list": "Follow-ups due in this village, late ones first; showing a phone number is noted.",
    },
    "People": {
        "people": "Names are masked until somebody says why they are needed.",
        "people-keys": "Letters and digits come when the field is tapped: a panel has no keyboard.",
        "search-initials": "Found by the first letters of the pinyin.",
        "register": "By card, or by hand with the check digit looked at while typing.",
        "register-no-papers": "Without papers: an age will do, a temporary number is given, to be linked later.",
        "register-newborn": "A newborn under the mother's number, with a guardian.",
        "person": "One person: numbers, history, family, file.",
        "household": "The family at one address, and what kind of household it is for the prevention of poverty.",
        "person-file": "Guardian, telephone, known diseases, and records that may be the same person.",
        "why-number": "A reason before a number is shown in full.",
    },
    "Measuring": {
        "measure": "The value that has just arrived waits for one tap; the others live, confirmed, waiting or missing.",
        "by-hand": "Typed in twice, and marked so for ever.",
        "critical": "A red value: told, measured again, then one way out; the page cannot be left without.",
        "critical-call": "Whom the doctor called, in one tap, and that the number was read back.",
        "ecg": "Twelve leads, live, to true scale on a calibrated panel.",
        "ecg-stored": "A kept ECG with what was found, not reviewed until a doctor signs.",
        "ecg-sign": "The doctor agrees or not, marks what is critical, signs with the PIN.",
        "ecg-import": "ECG files from a stick.",
        "ultrasound": "The picture of the ultrasound machine.",
        "ultrasound-still": "A frozen picture, measured in millimetres.",
        "laboratory": "Specimens by number; what nobody wrote down waits to be claimed.",
    },
    "Screening, forms, paper": {
        "screening": "Prompts with rule, inputs and source; the seven screening paths above.",
        "path-hypertension": "Hypertension: one question a page, big answers, what is known at the right.",
        "path-diabetes": "Diabetes: when was the glucose taken?",
        "path-copd": "COPD: the questionnaire COPD-SQ.",
        "path-af": "Atrial fibrillation: a pulse, an ECG of half a minute, the doctor's reading.",
        "path-stroke": "Stroke risk: eight factors.",
        "path-tb": "Tuberculosis: cough, weeks, signs.",
        "path-echinococcosis": "Echinococcosis: organ, stage and size from the ultrasound.",
        "path-result": "The result of a path, with its next steps.",
        "refer": "A referral, filled in from what was found.",
        "referral": "The referral as it was kept, and what became of it.",
        "profile": "Health profile on one page: programmes, values, trends, drugs, forms.",
        "follow-up": "A national form, filled in from today's readings; each answer says where it came from.",
        "print": "The slip as it will come out, the date of the next visit, sheets and letters as PDF.",
        "printed": "A slip that came out, with the number that proves it genuine.",
        "person-export": "One person's records as FHIR, onto a stick.",
        "voice": "Spoken prompts under the finger, with volume and language.",
    },
    "Emergency and driving": {
        "emergency-ask": "One tap starts it; cancelling costs nothing.",
        "emergency": "Clock, position, numbers, a checklist with times; the county is called at once.",
        "emergency-summary": "What was done when, to hand over.",
        "driving": "Above 5 km/h: where the van is, and the emergency button.",
    },
    "Consultation": {
        "consult-request": "Five fields, the consent read aloud, a finger's signature.",
        "consult-session": "What the specialist sees, the faces, where the consultation stands.",
        "consult-opinion": "The signed opinion has arrived.",
        "consult-decision": "The doctor's own decision, signed with the PIN.",
    },
    "Status": {
        "status": "Faults first, each with cause and remedy, then devices, network, disk, clock, versions.",
        "status-link": "The mobile network: cells, rates, delay.",
        "device": "One device: state, last value, due dates, strips.",
        "add-device": "A new device is found when it is plugged in.",
        "add-analyser": "The van's address and port, as an analyser has to be told.",
        "add-camera": "Which camera shows the room and which the ultrasound.",
        "screen-scale": "A bank card calibrates the panel, so that a millimetre is a millimetre.",
        "stick": "Records to and from the county on a USB stick.",
        "enrol": "A new van shows the code that the county types in.",
    },
    "The remote specialist": {
        "specialist-invitations": "Who asks, how urgent, in five fields.",
        "specialist-session": "Summary and trends, pictures, the opinion as it is written.",
        "specialist-measuring": "A still measured in millimetres; ICD-10 found by the first letters of its name.",
        "specialist-to-sign": "Opinions that still wait for a signature.",
    },
    "The county": {
        "county-sign-in": "Account and password.",
        "county-coverage": "Village by day: half a day, short, missed, not yet synced.",
        "county-map": "The month on a map drawn without any outside service.",
        "county-warnings": "Villages to hurry for: what is missing, on which days the van can come, whom to call.",
        "county-acceptance": "The acceptance report: asked, done, missed and why, and how it is proven.",
        "county-activity": "The work of a month: screening, red values, referrals, what waits.",
        "county-lists": "Lists by village as numbers; with names for a reason, under a password.",
        "county-slips": "A slip's number, held against the journal.",
        "county-link": "Where the network carries a consultation.",
        "county-visit": "One visit: track, dwell, crew, work, verdict with reasons.",
        "county-entries": "The journal's entries of a visit, each verified.",
        "evidence-sheet": "The printable sheet of a visit.",
        "county-review": "Visits that somebody has to look at.",
        "county-fleet": "Vehicles, keys, versions, faults; a new van waits for its code.",
        "county-waivers": "Reasons for not going, with a signature.",
        "county-villages": "Villages as the registry has them.",
        "county-rules": "Rules of coverage, signed into the registry.",
        "county-registry": "The registry's log.",
    },
}
SENTENCES = {name: sentence for pages in SECTIONS.values() for name, sentence in pages.items()}


class Album:
    """Pictures of pages in a folder; what is kept needs its sentence in ``SECTIONS``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, list[str]] = {}

    def keep(self, page: Page, name: str, look: str = "", settle_ms: int = 700) -> None:
        """The page as it stands, once what moves has come to rest.

        :param look: a key of ``LOOKS``
        :raises KeyError: there is no sentence for ``name``
        """
        page.wait_for_timeout(settle_ms)
        self._add(name, look, page.screenshot())

    def both(self, page: Page, url: str, name: str, settle_ms: int = 700) -> None:
        """A page in both languages; it stays open in Chinese."""
        joint = "&" if "?" in url else "?"
        for language in ("en", "zh"):
            page.goto(f"{url}{joint}lang={language}")
            self.keep(page, name, language, settle_ms)

    def print_out(self, pdf: bytes, name: str) -> None:
        """The first page of a PDF file (pdftoppm of poppler)."""
        command = ["pdftoppm", "-png", "-singlefile", "-r", "110", "-"]
        self._add(name, "", subprocess.run(command, input=pdf, check=True, capture_output=True).stdout)

    def write_index(self) -> None:
        """README.md; pictures of earlier times that nobody kept this time are removed."""
        lines = ["# Every page", "", "Made by `make screenshots` from a running demo; the people are invented."]
        for title, pages in SECTIONS.items():
            lines += ["", f"## {title}"]
            for name, sentence in pages.items():
                looks = self._kept.get(name)
                if looks:
                    lines += ["", f"**{name}**: {sentence}", "", *(_picture(name, look) for look in looks)]
        (self._folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        kept = {_file(name, look) for name, looks in self._kept.items() for look in looks}
        for old in self._folder.glob("*.png"):
            if old.name not in kept:
                old.unlink()

    def _add(self, name: str, look: str, png: bytes) -> None:
        if name not in SENTENCES:
            raise KeyError(f"{name}: say in SECTIONS what is to be seen")
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(self._folder / _file(name, look), optimize=True)
        looks = self._kept.setdefault(name, [])
        if look not in looks:
            looks.append(look)
            looks.sort(key=["", *LOOKS].index)
        print(_file(name, look), flush=True)


def _file(name: str, look: str) -> str:
    return f"{name}.{look}.png" if look else f"{name}.png"


def _picture(name: str, look: str) -> str:
    return f"![{name}, {LOOKS[look]}]({_file(name, look)})" if look else f"![{name}]({_file(name, look)})"
