"""What the terminal, Markdown and the HTML page show, and that the page needs nothing but itself."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compact_labse.measure.pages.page import html
from compact_labse.measure.pages.quality_tables import kept_table
from compact_labse.measure.pages.report import markdown, print_report, to_json, write_report
from compact_labse.measure.pages.summary import Summary, summarise
from compact_labse.measure.pages.tables import footnotes, tables
from compact_labse.measure.results import record
from compact_labse.measure.speed.latency import Cell
from tests.measure.records import SHAPES, agrees, model, retrieval, speed

TEACHER, STUDENT, TWIN = model("teacher", "torch", 90e6), model("student"), model("twin", size=0)
TEXT = Cell(mode="text")


@pytest.fixture(scope="module")
def summary() -> Summary:
    records = []
    for n in range(5):
        for m, ms in ((TEACHER, 10.0), (STUDENT, 2.5), (TWIN, 9.0 + n / 2)):
            records += [speed(m, ms + n / 100, n, cell) for cell in (*SHAPES, TEXT)]
    for m, points in ((TEACHER, 95.0), (STUDENT, 88.0), (TWIN, 94.0)):
        unseen = ("ka",) if m is STUDENT else ()
        records.append(
            retrieval(m, "tatoeba", untrained=unseen, de=points, ko=points - 30, ka=points - 60, fr=points + 1)
        )
        records.append(retrieval(m, "pud", de=points, ko=points - 10))
    records += [agrees(STUDENT), agrees(TWIN)]
    records.append(record("failure", TWIN, {"what": "speed 64x128"}, {"error": "was killed", "of": "k"}))
    return summarise(records)


def table(summary: Summary, title: str) -> dict[str, dict[str, str]]:
    found = next(table for table in tables(summary) if table.title == title)
    return {row[0].text: dict(zip(found.header, [entry.text for entry in row], strict=True)) for row in found.rows}


def test_tables_show_ratios_ties_and_sizes(summary: Summary):
    speeds = next(found for found in tables(summary) if found.title == "Speed")
    texts = {row[0].text: [entry.text for entry in row] for row in speeds.rows}
    assert texts["student"].count("4.0×") == 3
    assert texts["twin"].count("tie") == 3
    assert texts["teacher"].count("–") == 3
    sizes = table(summary, "Size and memory")
    assert sizes["student"]["file MB"] == "16.0"
    assert sizes["student"]["smaller"] == "5.6×"
    assert sizes["twin"]["file MB"] == "–"
    assert table(summary, "Quality")["student"]["pud xx→en"] == "83.0"
    assert table(summary, "Weakest languages")["student"]["tatoeba"] == "ka 28 ko 58 de 88"
    assert table(summary, "Agreement")["student"]["English worst"] == "0.9500"


def test_notes_say_how_it_was_measured_and_what_failed(summary: Summary):
    notes = "\n".join(footnotes(summary))
    assert "median of 5 interleaved rounds" in notes
    assert "Not trained on ka: student." in notes
    assert "Failed: twin, speed 64x128: was killed" in notes


def test_a_single_round_is_not_claimed():
    summary = summarise([speed(TEACHER, 10, 0), speed(STUDENT, 5, 0)])
    assert table(summary, "Speed")["student"]["vs"] == "2.0×?"
    assert any(note.startswith("`?`") for note in footnotes(summary))
    text = markdown(summary) + html(summary)
    assert "one fresh process per figure, of one round;" in text
    assert "±0" not in text
    assert "one round" in html(summary)


def test_a_long_run_does_not_count_as_a_round():
    long = Cell(mode="long", count=20)
    records = [speed(STUDENT, 5 + n, n) for n in range(3)]
    records.append(
        speed(STUDENT, 5, 0, long) | {"values": {**records[0]["values"], "sentences_per_s": 1.0, "growth": 0}}
    )
    records[-1]["values"]["sentences"] = 20
    del records[-1]["values"]["model_ms"]
    records[-1]["values"]["tokenize_share"] = 0.0
    assert any("median of 3 interleaved rounds" in note for note in footnotes(summarise(records)))


def test_columns_without_a_figure_are_left_out():
    header = next(found for found in tables(summarise([retrieval(STUDENT, "pud", de=90)]))).header
    assert "cold start ms" not in header
    assert "file MB" in header


def test_plain_text_is_aligned_and_has_no_escapes(summary: Summary):
    out = io.StringIO()
    print_report(summary, out)
    text = out.getvalue()
    assert "\x1b" not in text
    lines = text.split("\n\n")[0].splitlines()
    assert lines[0] == "Speed"
    assert len({len(line) for line in lines[1:]}) == 1


def test_a_terminal_gets_a_drawn_table(summary: Summary, monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "140")
    out = Terminal()
    print_report(summary, out)
    assert "─" in out.getvalue()
    assert "student" in out.getvalue()


def test_markdown_tables_have_as_many_cells_as_headers(summary: Summary):
    text = markdown(summary)
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    assert len(blocks) == 6
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "## Speed" in text
    assert "Measured 20" in text


def test_json_is_json(summary: Summary):
    found = json.loads(to_json(summary))
    assert [row["model"]["label"] for row in found["rows"]] == ["teacher", "student", "twin"]
    assert found["rows"][1]["speeds"]["1x20"]["versus"]["verdict"] == "higher"


class Page(HTMLParser):
    """Collects tags, their attributes, and whether they nest."""

    VOID = {"meta", "br", "link", "img", "input", "hr", "wbr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def embedded_data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_is_whole_and_loads_nothing(summary: Summary):
    text = html(summary)
    page = Page(text)
    assert page.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    loading = {"src", "href", "srcset", "action", "xlink:href"}
    assert not [found for found in page.attributes if found[1] in loading and not found[2].startswith("#")]
    assert "default-src 'none'" in text
    assert "<!--" not in text.replace("<!DOCTYPE", "")


def test_the_page_shows_plots_tables_heat_map_environment_and_commands(summary: Summary):
    text = html(summary)
    assert len(embedded_data(text)["plots"]["points"]) == 3
    assert [first[0] for first in embedded_data(text)["plots"]["first"]] == ["size", "speed/text"]
    assert text.count('<table class="sortable">') == 6
    assert text.count('class="heat"') == 2
    assert text.count('class="step"') == 2  # the twin has no size
    assert 'data-figures="58.0|57.0"' in text
    assert 'class="unseen"' in text
    assert str(summary.machine["cpu"]) in text
    assert "hash of studen" in text
    assert summary.commands[0].split()[0] in text


def test_names_cannot_break_the_page():
    evil = model("<script>alert(\"x\")</script> & 'co'")
    text = html(summarise([retrieval(evil, "<b>data</b>", **{"d&e": 50.0}), speed(evil, 1, 0, TEXT)]))
    assert "<script>alert" not in text
    assert "<b>data</b>" not in text
    assert "d&amp;e" in text
    assert Page(text).open == []


def test_a_page_without_speeds_or_without_quality_is_whole():
    for records in ([retrieval(STUDENT, "pud", de=90)], [speed(STUDENT, 5, 0)], [agrees(STUDENT)]):
        assert Page(html(summarise(records))).open == []


def test_reports_are_written_and_replaced(summary: Summary, tmp_path: Path):
    for _ in range(2):
        paths = write_report(summary, tmp_path / "new" / "folder")
        assert [path.name for path in paths] == ["report.html", "report.md"]
        assert all(path.stat().st_size > 1000 for path in paths)


def test_what_an_artifact_keeps_is_told_against_what_it_was_made_from_in_the_languages_it_knows():
    source, other = model("source", size=80e6), model("other", size=90e6)
    small = model("small", size=16e6) | {"made_from": [source["hash"]], "trained": ["de", "th", "te"]}
    records = [
        retrieval(source, "pud", de=80.0, th=60.0, ka=70.0, te=45.0),
        retrieval(other, "pud", de=99.0, th=99.0, ka=99.0),
        retrieval(small, "pud", untrained=("ka",), de=80.0, th=45.0, ka=1.0, te=41.0),
    ]
    table_of = kept_table(summarise(records, [other, source, small]))
    assert table_of is not None
    ((*names, size, languages, kept, least),) = [[entry.text for entry in row] for row in table_of.rows]
    assert names == ["small", "source", "pud"]
    assert (size, languages) == ("20.0", "3")
    assert kept == f"{100 * (79.5 + 44.5 + 40.5) / (79.5 + 59.5 + 44.5):.2f}"
    assert least == f"th {100 * 44.5 / 59.5:.1f}"
    assert kept_table(summarise(records[:2])) is None
