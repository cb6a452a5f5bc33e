"""The page takes no answer that shows another certificate than the invitation's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path("telemedicine/exchange/static/media_session.js")
VAN, STRANGER = "AA:BB:CC", "AA:BB:CD"


def pinned(fingerprint: str, sdp: str) -> str | None:
    """What ``pinnedTo`` makes of an answer."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("skipped: no node here")
    text = SCRIPT.read_text()
    function = text[text.index("export function pinnedTo") :].removeprefix("export ")
    program = f"{function}\nconsole.log(JSON.stringify(pinnedTo({json.dumps(fingerprint)}, {json.dumps(sdp)})))"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True, timeout=30)
    answer: str | None = json.loads(done.stdout)
    return answer


def test_only_the_invitations_certificate_is_taken() -> None:
    good = f"a=fingerprint:sha-256 {VAN}\r\na=fingerprint:sha-512 EE:FF\r\na=setup:active\r\n"
    assert pinned(VAN, good) == f"a=fingerprint:sha-256 {VAN}\r\na=setup:active\r\n", "no other one may stand beside it"
    assert pinned(VAN, good.lower()) is not None
    assert pinned(VAN, good.replace(VAN, STRANGER)) is None
    assert pinned(VAN, good + f"a=fingerprint:sha-256 {STRANGER}\r\n") is None
    assert pinned(VAN, "a=setup:active\r\n") is None
    assert pinned("", good) == good, "a van that has told none, as older ones"
