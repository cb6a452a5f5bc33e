"""``python -m devices``: one JSON line an event, garbage is counted and no error, mistakes are told in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from device_captures import CAPTURES

from devices import catalog
from devices.__main__ import main
from devices.capture import read_capture
from devices.clock import SystemClock
from devices.simulators.contec_cms50 import Finger, real_time
from devices.simulators.gnss import GnssTwin
from devices.simulators.pty_port import PtyPort


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_names_every_driver(capsys: pytest.CaptureFixture[str]) -> None:
    listed = said(capsys, "list")
    drivers = [line for line in listed if "driver" in line]
    assert [line["driver"] for line in drivers] == list(catalog.drivers())
    assert all(line["title_zh"] and line["hardware_tested"] and line["link"] for line in drivers)


def test_decode_gives_events_then_counters(capsys: pytest.CaptureFixture[str]) -> None:
    frame = real_time(signal=7, beep=False, pleth=50, searching=False, finger=Finger(96, 74))
    *events, counters = said(capsys, "decode", "contec_cms50_v7", *[frame.hex()] * 7)
    numbers = [event for event in events if event["type"] == "pulse_oximetry"]
    assert [(number["spo2_percent"], number["pulse_bpm"]) for number in numbers] == [(96, 74)]
    assert [event["counts"] for event in events if event["type"] == "samples"] == [[[50]] * 6, [[50]]]
    assert counters["counters"]["frames"] == 7


def test_decode_cut_anywhere_gives_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    record = "A04904084100080000080000080000"
    whole = said(capsys, "decode", "contec_8000g", record * 2)
    assert whole[0]["counts"] == [[130, 0, 0, 0, 0, 0, 0, 0]]
    assert whole[0]["resolution"] == 1.25
    assert said(capsys, "decode", "contec_8000g", record[:6], record[6:] + record) == whole


def test_decode_takes_a_channel_or_the_first_one(capsys: pytest.CaptureFixture[str]) -> None:
    value = "16800050006000EA070B15081E0048000400"
    plain = said(capsys, "decode", "bluetooth_blood_pressure", value)
    assert plain[0]["systolic_mmhg"] == 128.0
    assert said(capsys, "decode", "bluetooth_blood_pressure", f"2a35:{value}") == plain


@pytest.mark.parametrize("driver_id", sorted(catalog.drivers()))
def test_decode_counts_garbage_and_ends_well(driver_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    *events, counters = said(capsys, "decode", driver_id, "00112233445566778899AABBCCDDEEFF" * 4, "FF")
    if catalog.about(driver_id).lost_after_s < float("inf"):
        assert all(event["type"] in ("device", "samples") for event in events)
    counted = counters["counters"]
    assert counted["dropped_bytes"] + counted["bad_checksums"] + counted["resyncs"] + counted["frames"] > 0


def test_mistakes_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, word in (
        (["decode", "contec_9000", "00"], "contec_8000g"),
        (["decode", "contec_8000g", "xyz"], "hexadecimal"),
        (["watch", "contec_8000g"], "--port"),
        (["replay", "nowhere.capture.jsonl"], "nowhere"),
    ):
        assert main(arguments) == 2
        assert word in json.loads(capsys.readouterr().err)["message"]


def test_record_says_why_it_can_not_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, facts = tmp_path / "out.capture.jsonl", ["--device", "twin", "--display", "standing"]
    assert main(["record", "nmea_gnss", *facts, str(out)]) == 2
    assert "--port" in json.loads(capsys.readouterr().err)["message"]
    assert not out.exists(), "else the next try finds a file in its way"
    out.write_text("kept")
    for path, word in ((out, "another file"), (tmp_path / "nowhere" / "x", "folder")):
        assert main(["record", "nmea_gnss", "--port", "/dev/x", *facts, str(path)]) == 2
        assert word in json.loads(capsys.readouterr().err)["message"]
    assert out.read_text() == "kept"


def test_replay_prints_what_was_agreed(capsys: pytest.CaptureFixture[str]) -> None:
    path = CAPTURES / "sam_id_card" / "two_invented_persons.capture.jsonl"
    kinds = [event.get("type") for event in said(capsys, "replay", str(path))]
    assert kinds == ["device", "identity_card", "card_removed", "identity_card", None]


def test_a_real_identity_card_is_never_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "card.capture.jsonl"
    arguments = ["record", "sam_id_card", "--port", "/dev/x", "--device", "reader", "--display", "a card", str(out)]
    assert main(arguments) == 2
    assert "person" in json.loads(capsys.readouterr().err)["message"]
    assert not out.exists()


async def test_record_keeps_what_came_over_a_port(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import asyncio

    port = PtyPort(tmp_path / "gnss", GnssTwin(SystemClock(), 32.36, 106.82), SystemClock())
    port.attach()
    out = tmp_path / "standing.capture.jsonl"
    arguments = ["record", "nmea_gnss", "--port", str(tmp_path / "gnss"), "--seconds", "2.5", "--kind", "simulated"]
    arguments += ["--device", "twin", "--display", "standing", str(out)]
    status = await asyncio.to_thread(main, arguments)
    port.detach()
    assert status == 0
    capture = read_capture(out)
    assert capture.head.kind == "simulated"
    assert b"$GNRMC" in b"".join(chunk for _, chunk in capture.received)
    assert '"type": "position"' in capfd.readouterr().out


def test_an_analyser_is_waited_for_at_a_named_address(capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("", "9100", "analyser:9100"):
        assert main(["watch", "hl7_analyser", "--json", "--address", address]) == 2
        assert "192.168.10.1:9100" in capsys.readouterr().err
    assert main(["watch", "hl7_analyser", "--json", "--address", "127.0.0.1:39177", "--seconds", "0.1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["link"] == "absent"
