"""The verifier from the command line and as one file: exit status, both languages, nothing but the standard library."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sync import standalone
from sync.proof.evidence import read_bundle, write_bundle
from sync.verify import quick_dataclasses as quick
from sync.verify import quick_typing
from sync.verify.__main__ import USAGE, main
from sync.verify.words import EN, ZH, Words, language_of
from tests.sync.evidence_county import SIGN_JPEG, EvidenceCounty

Month = tuple[EvidenceCounty, dict[str, str]]


@pytest.fixture(scope="module")
def folder(evidence_month: Month, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good.zip, wrong.zip (its manifest claims another state), broken.zip, policy.txt and verify.pyz."""
    county, _ = evidence_month
    folder = tmp_path_factory.mktemp("verifier")
    good = county.of_village(county.villages[0]).data
    bundle = read_bundle(good)
    claims = tuple(replace(claim, state="counted") for claim in bundle.manifest.visits)
    wrong = replace(bundle, manifest=replace(bundle.manifest, visits=claims))
    (folder / "good.zip").write_bytes(good)
    (folder / "wrong.zip").write_bytes(write_bundle(wrong))
    (folder / "broken.zip").write_bytes(good[:-100])
    (folder / "policy.txt").write_bytes(county.policy)
    (folder / "verify.pyz").write_bytes(standalone.build())
    return folder


def run(folder: Path, *words: str, file: str = "verify.pyz") -> subprocess.CompletedProcess[str]:
    """The one file: isolated, without site-packages, in an empty environment."""
    command = [sys.executable, "-I", "-S", file, *words]
    return subprocess.run(command, cwd=folder, env={}, capture_output=True, timeout=60, encoding="utf-8")


# exit status and words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("good", 0), ("wrong", 1), ("broken", 2), ("not there", 2)])
def test_exit_status(folder: Path, name: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(folder / f"{name}.zip"), "--policy", str(folder / "policy.txt")]
    assert main([*words, "--json"]) == status
    said = json.loads(capsys.readouterr().out)
    assert said["result"] == ("valid", "invalid", "unreadable")[status]
    assert bool(said["faults"]) == bool(status)
    alone = run(folder, f"{name}.zip", "--policy", "policy.txt", "--json")
    assert alone.returncode == status
    assert json.loads(alone.stdout)["result"] == said["result"]


def test_a_report_in_chinese(folder: Path) -> None:
    said = run(folder, "good.zip", "--policy", "policy.txt", "--lang", "zh").stdout
    assert said.startswith("有效")
    for word in ("云坪村", "计入 2 次", "T1–T2", "不早于 2026-09-01 07:40:00", "zhou.min (村医)", "36 条只有散列"):
        assert word in said
    assert said.count("\n到村 ") == 3


def test_a_report_in_english(folder: Path) -> None:
    said = run(folder, "good.zip", "--policy", "policy.txt", "--lang=en").stdout
    assert said.startswith("VALID")
    for word in (
        "2 counted (the rules ask for 2)",
        "not before 2026-09-01 07:40:00 +08:00, not after 2026-09-01 13:00:00 +08:00 (5 h 20 min apart)",
        "4 h 8 min (0 h 0 min inferred)",
        "zhou.min (village doctor)",
        "70 shown, 36 as hashes only (hidden)",
        "witness.province.example",
        "too close to the visit before",
        "odometer: agrees",
    ):
        assert word in said


def test_pictures_are_held_against_the_evidence(folder: Path, tmp_path: Path) -> None:
    """The very file is told with its entry; one that differs by a byte is not of this evidence."""
    pictures = folder / "pictures"
    pictures.mkdir()
    (pictures / "sign.jpg").write_bytes(SIGN_JPEG)
    words = ("good.zip", "--policy", "policy.txt", "--pictures", "pictures", "--lang")
    good = run(folder, *words, "zh")
    assert (good.returncode, good.stdout[:2]) == (0, "有效")
    assert "sign.jpg: 就是第" in good.stdout
    assert "村牌照片, 2026-09-01 08:24:00 +08:00, 在村界内" in good.stdout
    (pictures / "other.jpg").write_bytes(SIGN_JPEG + b"\0")
    bad = run(folder, *words, "en")
    assert (bad.returncode, bad.stdout[:9]) == (1, "NOT VALID")
    assert "other.jpg: not of this evidence" in bad.stdout
    said = json.loads(run(folder, *words[:-1], "--json").stdout)
    assert said["faults"] == [{"code": "picture_unknown", "detail": "other.jpg"}]
    assert [one["entry"] is None for one in said["given"]] == [True, False]
    assert run(folder, *words[:-1], "--json", "--pictures", str(tmp_path / "none")).returncode == 2


def test_what_is_wrong_is_said(folder: Path) -> None:
    said = run(folder, "wrong.zip", "--policy", "policy.txt", "--lang", "en").stdout
    assert said.startswith("NOT VALID")
    assert "claimed “counted”, recomputed “not counted”" in said
    unreadable = run(folder, "broken.zip", "--policy", "policy.txt", "--lang", "en").stdout
    assert "reason: bundle_unreadable" in unreadable


def test_json_has_everything(folder: Path) -> None:
    said = json.loads(run(folder, "good.zip", "--policy", "policy.txt", "--json").stdout)
    assert re.fullmatch(r"[0-9a-f]{64}", said["sha256"])
    assert (said["village"], said["month"], said["practice"], said["counted"]) == ("999901101201", "2026-09", False, 2)
    first = said["visits"][0]
    assert (first["state"], first["claimed"], first["reasons"]) == ("counted", "counted", [])
    assert first["t1"] < first["stays"][0][0] < first["stays"][0][1] < first["t2"]
    assert first["t2_minus_t1_s"] == 5 * 3600 + 20 * 60
    assert first["dwell_s"] == pytest.approx(248.5 * 60, abs=120)
    assert {role for _, role in first["staff"]} == {"village_doctor", "nurse", "driver"}
    assert first["entries"]["hidden"] == 36
    assert first["witnesses"] == {"gnss": True, "odometer": True, "cells": None, "confirmed": True, "devices": True}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["good.zip"],
        ["good.zip", "--policy"],
        ["good.zip", "more.zip", "--policy", "policy.txt"],
        ["good.zip", "--log", ".", "--policy", "policy.txt"],
        ["good.zip", "--policy", "policy.txt", "--lang", "fr"],
        ["good.zip", "--policy", "policy.txt", "--jsn"],
    ],
)
def test_a_wrong_command_line_is_2_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert USAGE in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == USAGE


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN", "LC_ALL": ""}, "zh"),
        ({"LANG": "C"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_of_the_system(environment: dict[str, str], language: str) -> None:
    assert language_of(environment) == language


def test_both_languages_say_the_same_with_the_same_values() -> None:
    assert ZH.keys() == EN.keys()
    for key in ZH:
        assert set(re.findall(r"{(\w+)", ZH[key])) == set(re.findall(r"{(\w+)", EN[key])), key
    assert Words("zh").word("of_the_future") == "of_the_future"


def test_every_word_of_a_verdict_has_words() -> None:
    from sync.proof.coverage import FLAGS, REASONS, REVIEW_REASONS, WITNESSES, VisitState

    assert [word for word in (*REASONS, *REVIEW_REASONS, *FLAGS, *WITNESSES) if f"word_{word}" not in EN] == []
    assert [state for state in VisitState if f"state_{state}" not in EN] == []


# one file -------------------------------------------------------------------------------------------------------------


def test_the_file_holds_exactly_what_the_verifier_imports(folder: Path) -> None:
    with zipfile.ZipFile(folder / "verify.pyz") as archive:
        inside = {name.removesuffix(".py") for name in archive.namelist() if name.endswith(".py")}
    ours = {path.relative_to(standalone.ROOT).with_suffix("").as_posix() for path in standalone.modules().values()}
    assert inside == ours | {"__main__", "dataclasses", "quick_typing"}
    modules = "__main__, bundle_check, log_audit, report, sealed_check"
    script = f"import sys; from sync.verify import {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60)
    used = {name for name in loaded.stdout.split() if name.partition(".")[0] in standalone.OUR_PACKAGES}
    assert used == set(standalone.modules())


def test_the_file_imports_the_standard_library_alone(folder: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'verify.pyz'); "
        "from sync.verify import __main__, bundle_check, log_audit, report; "
        "print(*(name.partition('.')[0] for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], cwd=folder, env={}, capture_output=True, check=True, text=True
    )
    foreign = set(done.stdout.split()) - sys.stdlib_module_names - {"sync", "devices", "__main__", "quick_typing"}
    assert foreign == set()


def test_the_file_says_the_same_as_the_package(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file has its own dataclasses and its own Ed25519."""
    for name in ("good", "wrong"):
        main([str(folder / f"{name}.zip"), "--policy", str(folder / "policy.txt"), "--json"])
        assert run(folder, f"{name}.zip", "--policy", "policy.txt", "--json").stdout == capsys.readouterr().out


def test_another_release_of_python_compiles_the_sources(folder: Path, tmp_path: Path) -> None:
    """Bytecode of another release is passed over."""
    other = tmp_path / "other.pyz"
    with zipfile.ZipFile(folder / "verify.pyz") as archive, zipfile.ZipFile(other, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, b"\0\0\0\0" + content[4:] if name.endswith(".pyc") else content)
    assert run(folder, "good.zip", "--policy", "policy.txt", file=str(other)).returncode == 0


def test_an_old_python_is_told_so(folder: Path) -> None:
    with zipfile.ZipFile(folder / "verify.pyz") as archive:
        source = archive.read("__main__.py").decode()
    compile(source, "__main__", "exec", dont_inherit=True)
    assert source.index("sys.version_info < (3, 11)") < source.index("from sync.verify")


def test_it_is_written_where_one_says(tmp_path: Path) -> None:
    assert standalone.main([str(tmp_path / "build" / "v.pyz")]) == 0
    assert (tmp_path / "build" / "v.pyz").read_bytes().startswith(b"#!/usr/bin/env python3\n")


# its dataclasses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", [dataclasses, quick], ids=["the library's", "ours"])
def test_dataclasses_do_what_our_modules_use(library: Any) -> None:
    @library.dataclass(frozen=True)
    class Base:
        one: int
        two: str = "b"

    @library.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 2
        seen: dict[str, int] = library.field(default_factory=dict)
        body: bytes = library.field(default=b"", repr=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

    @library.dataclass(frozen=True)
    class Derived(Base):
        three: int = 3

    @library.dataclass
    class Open:
        points: list[Any] = library.field(default_factory=list)

    point = Point(1, seen={"a": 1})
    assert (point.x, point.y, point.seen, point.body) == (1, 2, {"a": 1}, b"")
    assert point == Point(1, 2, {"a": 1})
    assert point != Point(2)
    assert point != (1, 2)
    assert Point(1).seen is not Point(1).seen
    assert repr(point).endswith("Point(x=1, y=2, seen={'a': 1})")
    assert library.replace(point, y=5).y == 5
    assert library.asdict(Open([Base(1), (Base(2),)])) == {
        "points": [{"one": 1, "two": "b"}, ({"one": 2, "two": "b"},)]
    }
    assert list(Derived.__dataclass_fields__) == ["one", "two", "three"]
    assert Derived(1).three == 3
    assert len({Base(1), Base(1), Base(2)}) == 2
    for wrong in (lambda: Point(), lambda: Point(1, 2, {}, b"", 5), lambda: Point(z=1)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="negative"):
        Point(-1)
    with pytest.raises(TypeError):
        hash(Open())


@pytest.mark.parametrize("base", [NamedTuple, quick_typing.NamedTuple], ids=["real", "quick"])
def test_the_quick_named_tuple_is_as_the_real_one(base: Any) -> None:
    known: dict[str, Any] = {"Base": base}
    exec(
        "from __future__ import annotations\n"
        "class Where(Base):\n"
        "    '''A place.'''\n"
        "    place: int\n"
        "    name: str = 'somewhere'\n"
        "    def __str__(self): return f'{self.place} ({self.name})'\n",
        known,
    )
    made = known["Where"]
    assert made(1) == (1, "somewhere") == tuple(made(place=1))
    assert (str(made(2, "here")), repr(made(2, "here"))) == ("2 (here)", "Where(place=2, name='here')")
    assert (made._fields, made.__doc__, made._field_defaults) == (("place", "name"), "A place.", {"name": "somewhere"})
    assert made(1)._replace(name="there") == (1, "there")
    with pytest.raises(TypeError):
        made()
