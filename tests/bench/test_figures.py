"""README's figures come from committed results, and a README that differs is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.locate import locate
from compact_labse.measure.results import Results
from compact_labse.pipelines import load_pipeline
from tests.measure.records import model, retrieval, speed

figures = load_pipeline("bench", "figures")
ROOT = Path(__file__).resolve().parents[2]
README = f"# title\n\n{figures.BEGIN}\nold figures\n{figures.END}\n\nafter\n"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "results").mkdir()
    return ["--readme", str(tmp_path / "README.md"), "--results", str(tmp_path / "results")]


def test_without_results_the_readme_stays(words: list[str], tmp_path: Path):
    assert figures.main(words) == figures.main([*words, "--check"]) == 0
    assert (tmp_path / "README.md").read_text() == README


def test_figures_are_filled_once_and_checked(words: list[str], tmp_path: Path):
    results = Results(tmp_path / "results" / "a.jsonl")
    student = model("student")
    results.add(speed(student, 5, 0))
    Results(tmp_path / "results" / "b.jsonl").add(retrieval(student, "pud", de=90))
    assert figures.main([*words, "--check"]) == 1
    assert figures.main(words) == 0
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"# title\n\n{figures.BEGIN}\n\n**Speed**\n\n| model |")
    assert text.endswith(f"{figures.END}\n\nafter\n")
    assert "old figures" not in text
    assert "| student | 90.0 |" in text
    assert figures.main([*words, "--check"]) == 0
    results.add(retrieval(student, "pud", de=80) | {"date": "2999-01-01"})
    assert figures.main([*words, "--check"]) == 1


def test_an_overview_has_one_line_for_each_model():
    student, teacher = model("student"), model("teacher")
    records = [speed(student, 5, 0), retrieval(student, "pud", de=90), retrieval(student, "sample", de=10)]
    head, _, *rows = figures.short([*records, retrieval(teacher, "pud", de=95)]).split("\n\n")[0].split("\n")
    assert "pud" in head
    assert "sample" not in head
    assert [row.split(" | ")[0] for row in rows] == ["| student", "| teacher"]
    assert "| 90.0 |" in rows[0]
    assert "| 95.0 |" in rows[1]


def test_figures_of_a_student_that_no_longer_ships_are_refused():
    """Every table was that of the student before, and the check said that all was up to date."""
    shipped = {"model": {"spec": "default", "hash": model_hash(locate("default"))}}
    figures.of_what_ships([shipped, {"model": {"spec": "other", "hash": "1"}}])
    with pytest.raises(UserError, match="'default' are of another file .0123abcd. than the one that ships"):
        figures.of_what_ships([shipped, {"model": {"spec": "default", "hash": "0123abcdef"}}])


@pytest.mark.parametrize("text", ["no marks", f"{figures.END}\n{figures.BEGIN}", figures.BEGIN])
def test_a_readme_without_marks_is_an_error(text: str):
    with pytest.raises(UserError, match="README needs the lines"):
        figures.filled(text, "x")


def test_the_committed_readme_is_up_to_date():
    assert figures.main(["--check"]) == 0
