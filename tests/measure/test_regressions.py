"""What got worse between two files of results, and what is only noise."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from compact_labse.cli import main
from compact_labse.errors import UserError
from compact_labse.measure.regressions import (
    as_table,
    bootstrap,
    find_changes,
    mann_whitney,
    other_conditions,
    percent,
)
from compact_labse.measure.results import Results
from tests.measure.records import model, retrieval, speed

A, B = model("a"), model("b")


def rounds(of: dict, *ms: float) -> list:
    return [speed(of, value, number) for number, value in enumerate(ms)]


def by_figure(changes: list) -> dict:
    return {(change.label.split()[0], change.figure): change for change in changes}


def slow_p(x: list[float], y: list[float]) -> float:
    """Every way to split the values into two groups, counted."""
    pooled = x + y

    def wins(chosen: tuple[int, ...]) -> float:
        first = [pooled[i] for i in chosen]
        second = [pooled[i] for i in range(len(pooled)) if i not in chosen]
        return sum((a < b) + (a == b) / 2 for a in first for b in second)

    middle = len(x) * len(y) / 2
    splits = list(itertools.combinations(range(len(pooled)), len(x)))
    far = abs(wins(tuple(range(len(x)))) - middle)
    return sum(abs(wins(split) - middle) >= far for split in splits) / len(splits)


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2, 3, 4], [5, 6, 7, 8, 9]), ([1, 4, 5, 8.5], [2, 3, 6, 7, 9]), ([3, 1, 4, 2], [0, 9, 8, 7])]
)
def test_the_test_counts_all_orders(x: list[float], y: list[float]):
    assert mann_whitney(dict(enumerate(x)), dict(enumerate(y))) == pytest.approx(slow_p(x, y))


def test_three_rounds_can_never_tell():
    assert mann_whitney({0: 1, 1: 2, 2: 3}, {0: 7, 1: 8, 2: 9}) is None


def test_a_slower_model_is_worse_and_a_wobbling_one_is_noise():
    old = [*rounds(A, 10, 10.1, 9.9, 10, 10.2), *rounds(B, 10, 14, 8, 12, 9)]
    new = [*rounds(A, 12, 12.1, 11.9, 12, 12.2), *rounds(B, 11, 15, 9, 13, 12)]
    found = by_figure(find_changes(old, new, 0.05))
    assert found["a", "1x20 p50 ms"].verdict == "worse"
    assert found["a", "1x20 p50 ms"].worse_by == pytest.approx(0.2)
    assert found["b", "1x20 p50 ms"].verdict == "noise"
    assert found["a", "1x20 peak bytes"].verdict == found["a", "file bytes"].verdict == "same"
    assert by_figure(find_changes(new, old, 0.05))["a", "1x20 p50 ms"].verdict == "better"
    assert by_figure(find_changes(old, new, 0.25))["a", "1x20 p50 ms"].verdict == "same"
    few = find_changes(rounds(A, 10, 10, 10), rounds(A, 20, 20, 20), 0.05)
    assert by_figure(few)["a", "1x20 p50 ms"].verdict == "unjudged"


def test_a_larger_file_is_worse_without_any_doubt():
    found = by_figure(find_changes(rounds(A, 10), rounds(A | {"artifact_bytes": 18_000_000}, 10), 0.05))
    assert found["a", "file bytes"].verdict == "worse"


def test_sizes_are_shown_in_megabytes_and_without_doubt():
    table = as_table(find_changes(rounds(A, 10), rounds(A | {"artifact_bytes": 18_000_000}, 10), 0.05))
    shown = {row[1].text: [entry.text for entry in row[2:]] for row in table.rows}
    assert shown["file MB"] == ["16.00", "18.00", "+12.5 %", "–", "worse"]
    assert "1x20 peak MB" in shown


def test_other_text_or_another_length_of_timing_is_said():
    old, new = rounds(A, 10), rounds(A, 10)
    assert other_conditions(old, new) == []
    new[0]["config"] |= {"texts": "other", "seconds": 9.0}
    assert other_conditions(old, new) == ["1x20, seconds: 1.0 and 9.0", "1x20, texts: d and other"]


def test_accuracy_is_judged_over_the_shared_languages():
    old = [retrieval(A, "pud", de=90.0, fr=91.0, th=80.0, hi=85.0)]
    lost = [retrieval(A, "pud", de=80.0, fr=82.0, th=70.0, hi=76.0, ja=99.0)]
    mixed = [retrieval(A, "pud", de=99.0, fr=70.0, th=90.0, hi=60.0)]
    assert by_figure(find_changes(old, lost, 0.05))["a", "pud xx_en"].verdict == "worse"
    assert by_figure(find_changes(old, mixed, 0.05))["a", "pud xx_en"].verdict == "noise"
    assert bootstrap({"de": 1.0, "fr": 2.0}, {"de": 0.5, "fr": 1.0}) is None


def test_nothing_in_common_is_an_error():
    with pytest.raises(UserError, match=r"no figure in common: the old one has a \[onnxruntime\], the new one b"):
        find_changes(rounds(A, 1), rounds(B, 1), 0.05)


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("0", 0)])
def test_thresholds(text: str, value: float):
    assert percent(text) == pytest.approx(value)
    for wrong in ("five", "-1%", "100%", "nan"):
        with pytest.raises(UserError, match="--threshold must be"):
            percent(wrong)


def test_the_command_fails_for_a_regression_and_only_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, ms in (("old", 10.0), ("new", 13.0)):
        results = Results(tmp_path / name / "results.jsonl")
        for found in rounds(A, *(ms + n / 10 for n in range(5))):
            results.add(found)
    words = ["bench", "compare", str(tmp_path / "old"), str(tmp_path / "new" / "results.jsonl")]
    assert main([*words, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["regressions"] == 1
    assert found["changes"][0]["figure"] == "1x20 p50 ms"
    assert main([*words, "--threshold", "50%"]) == 0
    assert main([*words[:2], *reversed(words[2:])]) == 0
    assert main([*words[:3], str(tmp_path / "nothing")]) == 2
    assert "has no results" in capsys.readouterr().err
