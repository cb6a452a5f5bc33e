"""ESC/POS: exact bytes, any text, what a printer says of itself, and the simulated printer that reads it all back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import escpos
from devices.escpos import Align, Ask, Status
from devices.printer import CONFIRM_WITHIN_S, Conversation, Outcome
from devices.simulators.escpos_printer import EscPosPrinterTwin

TICK_S = 0.1
_HEADS = "1b40 1b61 1b45 1b64 1c21 1c26 1d21 1d72 1d56 1d7630 1d286b 1d286b030031 1004"
HEADS = [bytes.fromhex(head) for head in _HEADS.split()]


def test_the_bytes_are_those_of_the_reference() -> None:
    assert bytes.fromhex("1b40") == escpos.INITIALISE
    assert bytes.fromhex("1c26") == escpos.CHINESE_MODE
    assert escpos.align(Align.CENTRE) == bytes.fromhex("1b6101")
    assert escpos.bold(True) + escpos.bold(False) == bytes.fromhex("1b45011b4500")
    assert escpos.size(1, 2) == bytes.fromhex("1d2101 1c2108")
    assert escpos.size(2, 2) == bytes.fromhex("1d2111 1c210c")
    assert escpos.line_spacing(30) == bytes.fromhex("1b331e")
    assert escpos.feed(3) == bytes.fromhex("1b6403")
    assert escpos.feed_dots(12) == bytes.fromhex("1b4a0c")
    assert escpos.cut() == bytes.fromhex("1d564200")
    assert escpos.ask(Ask.PAPER) == bytes.fromhex("100404")
    assert bytes.fromhex("1d7201") == escpos.ASK_PROCESSED
    assert escpos.text("血压 162") == bytes.fromhex("d1aad1b920313632")
    assert escpos.qr_code(b"XZ1", 6) == bytes.fromhex(
        "1d286b0400314132001d286b0300314306 1d286b03003145311d286b0600315030585a311d286b0300315130"
    )
    assert escpos.raster([b"\xff\x00", b"\x81\x01"]) == bytes.fromhex("1d763000 0200 0200 ff00 8101")


def test_rare_characters_are_sent_with_four_bytes_or_marked_as_missing() -> None:

    assert escpos.text("𠮷").decode("gb18030") == "𠮷"
    assert escpos.text("𠮷安", four_bytes=False).decode("gb18030") == "〓安"
    assert escpos.columns("𠮷a") == 3


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_is_ever_a_command(written: str) -> None:
    for four_bytes in (True, False):
        encoded = escpos.text(written, four_bytes)
        assert not any(byte < 0x20 or byte == 0x7F for byte in encoded)
        encoded.decode("gb18030")
    kept = [character for character in written if escpos.text(character)]
    assert escpos.text(written).decode("gb18030") == "".join(kept)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_a_picture_holds_no_real_time_command(body: bytes) -> None:
    rows = [bytes([byte]) for byte in body] or [b"\0"]
    encoded = escpos.raster(rows)
    assert len(encoded) == 8 + len(rows)
    assert not any(encoded[8:][at : at + 2] in (b"\x10\x04", b"\x10\x05", b"\x10\x14") for at in range(len(rows)))


@pytest.mark.parametrize(
    ("asked", "byte", "status", "fault"),
    [
        pytest.param(Ask.PRINTER, 0x12, Status(offline=False), None, id="on line"),
        pytest.param(Ask.PRINTER, 0x1A, Status(offline=True), "printer_offline", id="off line"),
        pytest.param(Ask.OFFLINE, 0x16, Status(cover_open=True), "printer_cover_open", id="cover open"),
        pytest.param(Ask.ERROR, 0x1A, Status(failed=True), "printer_failed", id="cutter"),
        pytest.param(Ask.PAPER, 0x1E, Status(paper_low=True, paper_out=False), None, id="paper low"),
        pytest.param(Ask.PAPER, 0x7E, Status(paper_low=True, paper_out=True), "printer_paper_out", id="paper out"),
    ],
)
def test_what_a_printer_says_of_itself(asked: Ask, byte: int, status: Status, fault: str | None) -> None:
    assert escpos.is_real_time_answer(byte)
    assert escpos.with_answer(Status(), asked, byte) == status
    assert status.fault == fault


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(HEADS) | st.binary(max_size=8), max_size=20).map(b"".join))
def test_the_simulated_printer_takes_any_bytes(chunk: bytes) -> None:
    whole, pieces = EscPosPrinterTwin(), EscPosPrinterTwin()
    answered = whole.receive(chunk)
    assert b"".join(pieces.receive(bytes([byte])) for byte in chunk) == answered
    for twin in (whole, pieces):
        while twin.advance(1.0) or twin.advance(1.0):
            pass
    assert [slip.text for slip in whole.slips] == [slip.text for slip in pieces.slips]


class Desk:
    """A conversation with a simulated printer, in simulated time."""

    def __init__(self, answers: bool = True, told: bool | None = None) -> None:
        self.twin = EscPosPrinterTwin(answers=answers)
        self.conversation = Conversation(told)

    def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.step()

    def step(self) -> None:
        said = self.twin.receive(self.conversation.tick(TICK_S))
        self.conversation.feed(said + self.twin.advance(TICK_S))


SLIP = escpos.INITIALISE + escpos.text("血压") + escpos.LINE_FEED * 40 + escpos.cut()


def test_a_slip_is_printed_and_the_printer_says_so() -> None:
    desk = Desk()
    assert not desk.conversation.ready
    desk.pass_by(1.0)
    assert desk.conversation.ready
    desk.conversation.print(SLIP)
    with pytest.raises(RuntimeError):
        desk.conversation.print(SLIP)
    desk.pass_by(0.5)
    assert desk.conversation.outcome is None
    desk.pass_by(5.0)
    assert desk.conversation.outcome is Outcome.PRINTED
    assert [slip.text.strip() for slip in desk.twin.slips] == ["血压"]
    assert desk.twin.unknown == []


def test_paper_that_ends_in_the_middle_is_waited_for() -> None:
    desk = Desk()
    desk.pass_by(1.0)
    desk.twin.paper_left_dots = 300
    desk.conversation.print(SLIP)
    desk.pass_by(CONFIRM_WITHIN_S * 2)
    assert desk.conversation.fault == "printer_paper_out"
    assert desk.conversation.outcome is None
    assert desk.twin.slips == []
    desk.twin.put_paper_in()
    desk.pass_by(5.0)
    assert desk.conversation.outcome is Outcome.PRINTED
    assert len(desk.twin.slips) == 1


def test_an_open_cover_keeps_a_slip_from_being_begun() -> None:
    desk = Desk()
    desk.twin.cover_open = True
    desk.pass_by(2.0)
    assert not desk.conversation.ready
    assert desk.conversation.fault == "printer_cover_open"
    desk.twin.cover_open = False
    desk.pass_by(2.0)
    assert desk.conversation.ready


def test_a_printer_without_a_way_back_is_sent_the_slip() -> None:
    desk = Desk(answers=False)
    desk.pass_by(5.0)
    assert desk.conversation.two_way is False
    desk.conversation.print(SLIP)
    desk.pass_by(5.0)
    assert desk.conversation.outcome is Outcome.SENT
    assert len(desk.twin.slips) == 1


def test_one_that_should_answer_and_does_not_is_sent_nothing() -> None:
    desk = Desk(answers=False, told=True)
    desk.pass_by(10.0)
    assert desk.conversation.fault == "printer_silent"
    assert not desk.conversation.ready


def test_a_printer_that_knows_no_gs_r_is_believed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.twin, "advance", lambda elapsed_s, works=desk.twin.advance: works(elapsed_s)[:0])
    desk.pass_by(1.0)
    desk.conversation.print(SLIP)
    desk.pass_by(CONFIRM_WITHIN_S - 1)
    assert desk.conversation.outcome is None
    desk.pass_by(3.0)
    assert desk.conversation.outcome is Outcome.SENT


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=20))
def test_the_conversation_takes_any_bytes(chunks: list[bytes]) -> None:
    conversation = Conversation()
    for chunk in chunks:
        conversation.feed(chunk)
        conversation.tick(TICK_S)
