"""The parts of `bench/half_flops.py`: what is half, the text, what the rows come to."""

from __future__ import annotations

import gzip

import pytest

from compact_labse.pipelines import load_pipeline


@pytest.fixture(scope="module")
def half():
    return load_pipeline("bench", "half_flops")


def test_every_shape_needs_at_most_half(half):
    assert half.multiplications() == 6 * 1_769_472
    shares = [half.multiplications(**shape) / half.multiplications() for shape in half.SHAPES.values()]
    assert max(shares) == 0.5
    assert min(shares) > 0.45


def test_text_is_the_distinct_english_sides(half, tmp_path):
    for name in half.SOURCES:
        (tmp_path / "train" / name).mkdir(parents=True)
        for code, words in {"de": "Das ist wahr", "fr": "C'est vrai"}.items():
            lines = [f"This is true, said {name}.\t{words}", f"short\t{words}", "x" * 300 + f"\t{words}"]
            with gzip.open(tmp_path / "train" / name / f"en-{code}.tsv.gz", "wt", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
    files = half.english(tmp_path / "train", tmp_path / "work")
    assert len(files) == len(half.SOURCES)
    for name, file in zip(half.SOURCES, files, strict=True):
        assert open(file, encoding="utf-8").read() == f"This is true, said {name}.\n"


def test_losses_are_against_float32_and_times_against_the_same_kind(half):
    names = ("old fp32", "old int8", "pruned fp32", "pruned int8", "healed fp32", "healed int8")
    figures = ((80.0, 6.0), (79.0, 3.0), (60.0, 2.0), (50.0, 1.0), (79.2, 3.0), (78.0, 1.0))
    rows = [{"row": name, "spearman": s, "p50_ms": ms} for name, (s, ms) in zip(names, figures, strict=True)]
    assert half.summary(rows, 2) == {"loss_percent": [1.0, 2.5], "speedup": [2.0, 3.0]}


def test_shares_are_of_float32():
    few = load_pipeline("bench", "few_bits")
    rows = [{"row": "fp32", "bytes": 200, "spearman": 80.0}, {"row": "int4", "bytes": 30, "spearman": 79.0}]
    assert few.shares(rows)[1] == {"row": "int4", "bytes": 15.0, "spearman": 98.75}


def test_languages_are_shares_of_float32_and_the_mean_is_of_all():
    few = load_pipeline("bench", "few_bits")
    found = {"fp32": {"de": 50.0, "en": 80.0}, "int4": {"de": 45.0, "en": 80.0}}
    assert few.kept(found)["int4"] == {"de": 90.0, "en": 100.0, "mean": 96.15}
    assert few.language_page(found).splitlines()[2:] == [
        "| de | 50.00 | 90.0 |",
        "| en | 80.00 | 100.0 |",
        "| mean | 65.00 | 96.2 |",
    ]
