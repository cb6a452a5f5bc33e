"""An ECG on paper at true scale: where each sample stands, in the plan, in the paths of the PDF and in its picture."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pikepdf
import pytest

from sync.formats import ecg_file
from sync.interop import ecg_leads, ecg_paper
from sync.interop.ecg_paper import GRID_HEIGHT_MM, GRID_LEFT_MM, GRID_TOP_MM, GRID_WIDTH_MM, MOST_PAGES, PAGE_HEIGHT_MM
from sync.interop.ecg_pdf import POINT_MM, Words, pdf
from tests.sync.interop.ecg_samples import samples, stored

DPI = 300
PIXEL_MM = 25.4 / DPI
WORDS = Words(
    "zh",
    "心电图 12 导联",
    "杨桂芳 女 67岁",
    ("证件号 **************0426",),
    ("2026-03-02 09:05", "白果镇 王家村"),
    "未审核",
    "筛查提示，不作为诊断依据",
    ("自动：心率 72 次/分，未提示房颤",),
    ("25 mm/s", "10 mm/mV"),
)
NO_POPPLER = pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="skipped: no pdftoppm (poppler-utils)")


def ecg(**said: object) -> ecg_leads.Ecg:
    return ecg_leads.read(stored(**said))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def printed() -> bytes:
    return pdf(ecg(), "3x4+1", WORDS)


# leads


def test_limb_leads_follow_from_i_and_ii_without_rounding() -> None:
    read = ecg()
    i, ii = read.lead("I").twice, read.lead("II").twice
    assert read.names() == ecg_leads.STANDARD
    assert read.is_twelve
    assert np.array_equal(read.lead("III").twice, ii - i)
    assert np.array_equal(2 * read.lead("aVR").twice, -(i + ii))
    assert np.array_equal(2 * read.lead("aVL").twice, 2 * i - ii)
    assert np.array_equal(2 * read.lead("aVF").twice, 2 * ii - i)
    assert read.lead("I").uv(read.resolution_uv)[:2] == pytest.approx([1000, 1000])
    assert (read.lead("aVF").derived, read.lead("V6").derived) == (True, False)


def test_what_was_not_recorded_has_no_value_in_any_lead_that_needs_it() -> None:
    read = ecg(hole=slice(100, 150))
    for name in ("II", "aVR"):
        assert np.flatnonzero(np.isnan(read.lead(name).uv(2.5))).tolist() == list(range(100, 150))
    with pytest.raises(KeyError):
        ecg(channels=("ECG",)).lead("aVR")


# the plan


@pytest.mark.parametrize("layout", ecg_paper.LAYOUTS)
def test_a_second_is_25_mm_and_a_millivolt_10_mm_in_every_layout(layout: ecg_paper.Layout) -> None:
    [page] = ecg_paper.pages(ecg(), layout)
    for trace in page.traces:
        x, y = np.concatenate(trace.lines).T
        assert np.diff(x) == pytest.approx(25 / 500)
        if trace.lead == "I":
            assert np.ptp(y) == pytest.approx(10.0)
    assert np.ptp(ecg_paper.pulse(50.0)[:, 1]) == 10.0
    assert np.ptp(ecg_paper.pulse(50.0)[2:4, 0]) == 5.0


@pytest.mark.parametrize("layout", ecg_paper.LAYOUTS)
def test_each_lead_stands_once_and_within_the_grid(layout: ecg_paper.Layout) -> None:
    [page] = ecg_paper.pages(ecg(), layout)
    wanted = {"3x4+1": [*ecg_leads.STANDARD, "II"], "rhythm": ["II", "V1", "V5"]}.get(layout, [*ecg_leads.STANDARD])
    assert [trace.lead for trace in page.traces] == wanted
    points = np.concatenate([run for trace in page.traces for run in trace.lines])
    assert points[:, 0].min() >= ecg_paper.TRACE_LEFT_MM
    assert points[:, 0].max() <= GRID_LEFT_MM + GRID_WIDTH_MM
    assert points[:, 1].max() <= GRID_TOP_MM + GRID_HEIGHT_MM
    pulses = np.concatenate([ecg_paper.pulse(y_mm) for y_mm in page.pulses_mm])
    assert pulses[:, 1].min() >= GRID_TOP_MM


def test_columns_show_one_second_after_the_other() -> None:
    [page] = ecg_paper.pages(ecg(), "3x4+1")
    begins = {trace.lead: trace.begins_s for trace in page.traces if trace.lead != "II"}
    assert [begins[lead] for lead in ("I", "aVR", "V1", "V4")] == [0, 2.5, 5.0, 7.5]
    assert [len(np.concatenate(trace.lines)) for trace in page.traces] == [1250] * 12 + [5000]


def test_a_gap_of_the_recording_is_a_gap_on_paper() -> None:
    [page] = ecg_paper.pages(ecg(hole=slice(600, 700)), "12x1")
    runs = page.traces[0].lines
    assert [len(run) for run in runs] == [600, 4300]
    assert runs[1][0, 0] - runs[0][-1, 0] == pytest.approx(101 / 500 * 25)


@pytest.mark.parametrize(
    ("seconds", "channels", "layout", "pages"),
    [
        (10.0, ("I", "II"), "3x4+1", 1),
        (30.0, ("ECG",), "3x4+1", 1),
        (61.0, ("ECG",), "rhythm", 2),
        (10.15, None, "12x1", 1),
        (10.5, None, "12x1", 2),
        (30.0, None, "rhythm", 2),
        (0.4, None, "6x2", 1),
    ],
)
def test_every_second_of_the_recording_is_on_one_of_the_pages(
    seconds: float, channels: tuple[str, ...] | None, layout: ecg_paper.Layout, pages: int
) -> None:
    read = ecg(seconds=seconds, **({"channels": channels} if channels else {}))
    assert ecg_paper.page_count(read, layout) == pages
    drawn = ecg_paper.pages(read, layout)
    lead = "II" if channels is None or "II" in channels else channels[0]
    rows = [trace for page in drawn for trace in page.traces if trace.lead == lead]
    assert sum(len(np.concatenate(row.lines)) for row in rows) == len(read.counts)
    assert (drawn[0].begins_s, drawn[-1].ends_s) == (0.0, pytest.approx(seconds))


def test_of_a_long_recording_a_few_pages_are_printed_from_the_asked_one_on() -> None:
    read = ecg(seconds=90.0)
    assert ecg_paper.page_count(read, "12x1") == 9
    assert [page.begins_s for page in ecg_paper.pages(read, "12x1", first=4)] == [40, 50, 60, 70, 80]
    assert len(ecg_paper.pages(read, "12x1")) == MOST_PAGES


def test_segments_follow_each_other_with_a_gap() -> None:
    first, second = samples(seconds=2.0), samples(seconds=1.0)
    second = type(second)("ecg", second.channels, 500.0, 1, 0, second.counts, 2.5, "uV")
    read = ecg_leads.read(ecg_file.write([first, second]))
    assert len(read.counts) == 1501
    assert not read.lead("I").there[1000]


# the PDF


def paths_of(printed: bytes) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """(the matrix, the runs in the drawing's own coordinates) of the first page's path drawing."""
    document = pikepdf.open(io.BytesIO(printed))
    page = document.pages[0]
    matrix, runs, run = np.eye(3), [], []
    for operands, operator in pikepdf.parse_content_stream(page.obj.Contents[0]):
        told = [float(one) for one in operands if not isinstance(one, pikepdf.Array)]
        if str(operator) == "cm":
            a, b, c, d, e, f = told
            matrix = np.array([[a, b, 0], [c, d, 0], [e, f, 1]]) @ matrix
        elif str(operator) == "m":
            run = [told]
            runs.append(run)
        elif str(operator) == "l":
            run.append(told)
    return matrix, [np.array(one) for one in runs]


def test_the_paths_of_the_pdf_are_the_plan_to_a_hundredth_of_a_millimetre(printed: bytes) -> None:
    document = pikepdf.open(io.BytesIO(printed))
    box = [float(edge) for edge in document.pages[0].mediabox]
    assert [edge * POINT_MM for edge in box] == pytest.approx([0, 0, 297, 210], abs=0.01)
    matrix, runs = paths_of(printed)
    on_paper = [np.column_stack([run, np.ones(len(run))]) @ matrix for run in runs]
    on_paper_mm = [(run[:, :2] * POINT_MM) for run in on_paper]
    [plan] = ecg_paper.pages(ecg(), "3x4+1")
    drawn = [run for run in on_paper_mm if len(run) > 100]
    wanted = [line for trace in plan.traces for line in trace.lines]
    assert len(drawn) == len(wanted)
    for found, meant in zip(drawn, wanted, strict=True):
        assert found[:, 0] == pytest.approx(meant[:, 0], abs=0.01)
        assert found[:, 1] == pytest.approx(PAGE_HEIGHT_MM - meant[:, 1], abs=0.01)
    assert np.ptp(drawn[-1][:, 0]) == pytest.approx(250 - 25 / 500, abs=0.01)


def test_the_viewer_is_asked_not_to_fit_it_and_the_words_can_be_searched(printed: bytes, tmp_path: Path) -> None:
    document = pikepdf.open(io.BytesIO(printed))
    assert document.Root.ViewerPreferences.PrintScaling == "/None"
    assert [len(font) > 0 for font in document.pages[0].Resources.Font] != []
    if shutil.which("pdftotext") is None:
        pytest.skip("skipped: no pdftotext (poppler-utils)")
    file = tmp_path / "ecg.pdf"
    file.write_bytes(printed)
    said = subprocess.run(["pdftotext", str(file), "-"], capture_output=True, text=True, timeout=60).stdout
    for word in ("杨桂芳", "未审核", "筛查提示", "25 mm/s", "10 mm/mV", "aVR", "V6"):
        assert word in said


@NO_POPPLER
def test_in_the_rendered_picture_25_mm_are_25_mm_and_a_millivolt_is_10(printed: bytes, tmp_path: Path) -> None:
    picture = rendered(printed, tmp_path)
    assert np.array(picture.shape[:2]) * PIXEL_MM == pytest.approx([210, 297], abs=0.1)
    pink = np.flatnonzero(_major(picture[round((GRID_TOP_MM + 157.5) / PIXEL_MM)]))
    lines = pink[np.flatnonzero(np.diff(pink, prepend=-9) > 2)] * PIXEL_MM
    assert len(lines) == 54
    assert lines[5:] - lines[:-5] == pytest.approx(25.0, abs=0.2)
    black = picture.max(axis=2) < 90
    x, row = round((GRID_LEFT_MM + 5) / PIXEL_MM), round((GRID_TOP_MM + 20) / PIXEL_MM)
    top = np.flatnonzero(black[: row + 20, x])
    side = black[row - round(5 / PIXEL_MM), : x + 60]
    assert (row - top[-1]) * PIXEL_MM == pytest.approx(10.0, abs=0.2)
    edges = np.flatnonzero(side)
    assert (edges[-1] - edges[0]) * PIXEL_MM == pytest.approx(5.0, abs=0.4)


@NO_POPPLER
def test_a_trace_of_a_millivolt_and_half_a_second_measures_so_in_the_picture(printed: bytes, tmp_path: Path) -> None:
    black = rendered(printed, tmp_path).max(axis=2) < 90
    row = round((GRID_TOP_MM + 140) / PIXEL_MM)
    strip = black[row - round(18 / PIXEL_MM) : row + round(18 / PIXEL_MM), round(30 / PIXEL_MM) : round(270 / PIXEL_MM)]
    rises = np.flatnonzero(strip.sum(axis=0) > 8 / PIXEL_MM)
    edges = rises[np.flatnonzero(np.diff(rises, prepend=-9) > 2)] * PIXEL_MM
    assert np.diff(edges) == pytest.approx(12.5, abs=0.2)  # up or down every half second
    heights = np.flatnonzero(strip.sum(axis=1) > 60 / PIXEL_MM) * PIXEL_MM
    assert np.ptp(heights) == pytest.approx(10.0 * (1 + 20 * 2.5 / 1000), abs=0.4)  # II is 20 counts above 1 mV


def rendered(printed: bytes, folder: Path) -> npt.NDArray[np.uint8]:
    file = folder / "ecg.pdf"
    file.write_bytes(printed)
    subprocess.run(["pdftoppm", "-r", str(DPI), "-png", "-singlefile", str(file), str(folder / "ecg")], timeout=60)
    picture = cv2.imread(str(folder / "ecg.png"))
    assert picture is not None
    return picture


def _major(row: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Pixels (BGR) as dark as a line of 5 mm."""
    return (row[:, 2] > 200) & (row[:, 0] < 190)
