"""Documentation that fails the build when it lies: paths, commands, words and links are held against the tree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
PAGES = [ROOT / name for name in LISTED if name.endswith(".md")]
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)\)")
PATH = re.compile(
    r"^(?:devices|sync|telemedicine|vehicle|xunzhen|systemd|hardware|tests|docs|benchmarks|scripts|requirements|\.ci)/(?!\d+$)\S*$"
)
"""A path; `vehicle/1` is a kind of record."""
MODULE = re.compile(r"^[\w/-]+\.(?:py|js|css|html)$")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_page_is_there_and_names_only_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [
        path
        for path in CODE.findall(text)
        if PATH.match(path) and "<" not in path and not any(ROOT.glob(path.rstrip("/")))
    ]
    assert missing == [], f"{page_id(page)} names files that do not exist"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_module_that_a_page_names_is_in_the_tree(page: Path) -> None:
    named = {code for code in CODE.findall(page.read_text(encoding="utf-8")) if MODULE.match(code)}
    assert [name for name in sorted(named) if not any(f"/{path}".endswith(f"/{name}") for path in LISTED)] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        link
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_make_target_that_a_page_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]+)", page.read_text(encoding="utf-8"), re.M))
        assert named <= targets, page_id(page)


def test_every_dependency_is_named_with_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    for line in block.splitlines():
        if line.strip().startswith('"'):
            assert "# " in line, f"no reason given: {line.strip()}"


def test_pins_carry_hashes_and_no_addresses() -> None:
    for pins in (ROOT / "requirements").glob("*.txt"):
        text = pins.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, f"{pins.name} names a host"
        assert "--index-url" not in text
        assert "--find-links" not in text


def test_no_file_of_ours_is_crowded() -> None:
    """About 500 lines is where two purposes begin to live in one room."""
    crowded = {
        name: lines
        for name in LISTED
        if Path(name).suffix in (".py", ".js", ".css") and (lines := (ROOT / name).read_bytes().count(b"\n")) > 520
    }
    assert crowded == {}


def test_words_of_chance_are_not_in_the_code() -> None:
    """No rooms without a purpose: such names gather what nobody wanted to place."""
    banned = {"utils", "helpers", "common", "manager", "base"}
    assert [name for name in LISTED if Path(name).suffix == ".py" and Path(name).stem in banned] == []
