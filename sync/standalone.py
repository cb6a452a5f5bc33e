"""The verifier as one file: ``xunzhen-verify.pyz``, a zip application of exactly the modules that it needs (PEP 441).

``python3 xunzhen-verify.pyz evidence.zip --policy policy.txt`` on any machine with Python 3.11 or newer and nothing
else. Beside each module lies its compiled form, so that it starts in a moment where the release of Python is the same;
elsewhere Python compiles the sources.
"""

from __future__ import annotations

import ast
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode, compile
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
QUICK_DATACLASSES = ROOT / "sync" / "verify" / "quick_dataclasses.py"
"""Stands in the file under the name of the standard library's module; there it says why."""
QUICK_TYPING = ROOT / "sync" / "verify" / "quick_typing.py"
"""Our modules import it there instead of ``typing``: it says why. The real one stays for whoever else wants it."""
ENTRY = "sync.verify.__main__"
OUR_PACKAGES = ("devices", "sync")
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = f"""import gc
import sys

gc.disable()  # it runs for a moment, and hardly anything of ours refers to itself
if sys.version_info < (3, 11):
    sys.exit("xunzhen-verify needs Python 3.11 or newer; this is " + sys.version.split()[0])
from {ENTRY} import main

sys.exit(main())
"""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def modules(entry: str = ENTRY) -> dict[str, Path]:
    """Our modules that ``entry`` imports, directly or not, with their packages; by name."""
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        package, _, _ = name.rpartition(".")
        waiting += [package] if package else []
        waiting += _imported(path)
    return dict(sorted(found.items()))


def build() -> bytes:
    """The zip application."""
    packed = io.BytesIO()
    packed.write(_SHEBANG)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__", _MAIN.encode())
        _add(archive, QUICK_TYPING.stem, QUICK_TYPING.read_bytes())
        _add(archive, "dataclasses", _with_quick_typing(QUICK_DATACLASSES))
        for path in modules().values():
            _add(archive, path.relative_to(ROOT).with_suffix("").as_posix(), _with_quick_typing(path))
    return packed.getvalue()


def _with_quick_typing(path: Path) -> bytes:
    return path.read_bytes().replace(b"from typing import ", f"from {QUICK_TYPING.stem} import ".encode())


def _add(archive: zipfile.ZipFile, stem: str, source: bytes) -> None:
    """Source and bytecode of one module; the bytecode is not checked against the source (PEP 552)."""
    with TemporaryDirectory() as folder:
        written, compiled = Path(folder, "module.py"), Path(folder, "module.pyc")
        written.write_bytes(source)
        compile(
            str(written),
            str(compiled),
            f"{stem}.py",
            doraise=True,
            optimize=0,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
        for ending, content in ((".py", source), (".pyc", compiled.read_bytes())):
            member = zipfile.ZipInfo(stem + ending, _LONG_AGO)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)


def _source(name: str) -> Path | None:
    """The file of one of our modules; None for somebody else's, or for a name inside a module."""
    if name.partition(".")[0] not in OUR_PACKAGES:
        return None
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def main(arguments: list[str]) -> int:
    target = Path(arguments[0] if arguments else ROOT / "build" / "xunzhen-verify.pyz")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(build())
    target.chmod(0o755)
    print(f"{target}: {target.stat().st_size // 1024} KiB, {len(modules())} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
