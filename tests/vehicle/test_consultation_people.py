"""Who of the specialists is in a session, from the journal's own entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from touch_bench import Bench

from devices.clock import SystemClock
from telemedicine.consultation import write_who


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    return Bench(tmp_path, SystemClock())


async def test_each_access_is_an_entry_and_the_same_again_is_none(bench: Any) -> None:
    people = bench.vehicle.consultation_people
    shen, he = write_who("shen.ruochuan", "沈若川", "主任医师"), write_who("he.ping", "何平")
    for _ in range(2):
        await people.take("consultation-1", shen, "lead", "", here=True)
        await people.take("consultation-1", he, "observer", "沈若川", here=True)
    await people.take("consultation-2", "lin.an", "lead", "", here=True)
    assert [(p.account, p.name, p.title, p.role) for p in people.present("consultation-1")] == [
        ("shen.ruochuan", "沈若川", "主任医师", "lead"),
        ("he.ping", "何平", "", "observer"),
    ]
    assert [(p.account, p.name) for p in people.present("consultation-2")] == [("lin.an", "lin.an")]
    await people.take("consultation-1", he, "observer", "沈若川", here=False)
    assert [p.name for p in people.present("consultation-1")] == ["沈若川"]
    said = bench.vehicle.store.read("SELECT action, what FROM access_log WHERE action LIKE 'session_%' ORDER BY n")
    assert [row["action"] for row in said] == ["session_joined"] * 3 + ["session_left"]
    assert "observer 何平 (he.ping); 沈若川" in said[1]["what"]
