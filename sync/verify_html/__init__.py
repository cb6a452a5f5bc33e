"""The second verifier: one HTML file that an inspector opens without a network and drops evidence on.

The ES modules beside this file are written from docs/evidence.md and share no code with ``sync.verify``, so that two
programs agree about a bundle or one of the two is wrong. ``build`` puts them, page and style into one file.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "build" / "xunzhen-verify.html"
_IMPORT = re.compile(r"^import \{([^}]*)\} from '\./(\w+)\.js';\n", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:(?:async )?function|class|const) (?:(\w+)|\[([\w, ]+)\])", re.MULTILINE)


def build(*, for_tests: bool = False) -> bytes:
    """The page as one file, all of it inline; its policy of content security names the hashes of script and style.

    :param for_tests: the modules can be reached as ``window.verifier``
    """
    script = _script("page", for_tests=for_tests)
    style = (HERE / "page.css").read_text(encoding="utf-8")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {"STYLE_HASH": _source_hash(style), "SCRIPT_HASH": _source_hash(script), "STYLE": style, "SCRIPT": script}
    for name, content in parts.items():
        page = page.replace(f"{{{{{name}}}}}", content, 1)
    return page.encode()


def _script(entry: str, *, for_tests: bool) -> str:
    """One classic script: each module a function that returns what it exports, in the order of imports."""
    written: dict[str, str] = {}
    _add(entry, written)
    hook = "window.verifier = modules;\n" if for_tests else ""
    return "'use strict';\nconst modules = {};\n" + "".join(written.values()) + hook


def _add(name: str, written: dict[str, str]) -> None:
    if name in written:
        return
    source = (HERE / f"{name}.js").read_text(encoding="utf-8")
    for _, other in _IMPORT.findall(source):
        _add(other, written)
    exported = [each for found in _EXPORTED.findall(source) for each in ",".join(filter(None, found)).split(",")]
    body = _IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = modules.{found[2]};\n", source)
    body = re.sub(r"^export ", "", body, flags=re.MULTILINE)
    names = ", ".join(each.strip() for each in exported)
    written[name] = f"modules.{name} = (() => {{\n{body}return {{ {names} }};\n}})();\n"


def _source_hash(inline: str) -> str:
    """CSP Level 3 section 2.3.1: hash-source of an inline script or style."""
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def main(arguments: list[str]) -> int:
    target = Path(arguments[0]) if arguments else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(build())
    print(f"{target}: {target.stat().st_size // 1024} KiB, opens in any current browser without a network")
    return 0
