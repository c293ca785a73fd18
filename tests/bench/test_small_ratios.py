"""The parts of `bench/small_ratios.py`: shares of the teacher's scores, the page, the recipe of training."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from compact_labse.pipelines import load_pipeline


@pytest.fixture(scope="module")
def bench():
    return load_pipeline("bench", "small_ratios")


def row(width: int, tatoeba: float, size: int) -> dict:
    scores = {"tatoeba": (tatoeba, tatoeba - 1), "pud": (90.0, 80.0)}
    worse = {"tatoeba": (tatoeba - 4, tatoeba - 5), "pud": (90.0, 80.0)}
    files = {"fp32": {"bytes": size, "scores": scores}, "int4": {"bytes": size // 8, "scores": worse}}
    return {"width": width, "size_percent": width / 4, "before": worse, "after": scores, "files": files}


def test_the_least_share_counts(bench):
    found = {"minutes": 8, "teacher": row(400, 80.0, 4_000_000), "copies": [row(100, 76.0, 1_000_000)]}
    share = bench.kept(found["copies"][0]["after"], found["teacher"]["after"])
    assert share == {"tatoeba": (95.0, 94.9), "pud": (100.0, 100.0)}
    lines = bench.page(found).splitlines()
    assert lines[2] == "| 100 %, the teacher | 400 | 80.0 | 79.0 | 90.0 | 80.0 | 100.0 % |"
    assert lines[3] == "| 25.0 % | 100 | 72.0 | 71.0 | 90.0 | 80.0 | 89.9 % |"
    assert lines[4] == "| 25.0 %, trained | 100 | 76.0 | 75.0 | 90.0 | 80.0 | 94.9 % |"
    assert lines[-1] == "| 100 wide | int4 | 0.1 | 3.1 % | 89.9 % |"


def test_a_copy_is_trained_as_the_shipped_student_without_evaluation_sentences(bench, tmp_path):
    pytest.importorskip("jsonargparse", reason="configurations need the extra 'train'")
    (tmp_path / "narrow-14_6").mkdir()
    args = argparse.Namespace(
        teacher=tmp_path / "t", data=[Path("a"), Path("b")], eval=Path("e"), minutes=3.0, out=tmp_path
    )
    cfg = bench.recipe(args, bench.RATIOS[0], 74)
    assert (cfg.data, cfg.corpus.avoid) == (["a", "b"], ["e/tatoeba", "e/pud", "e/sts"])
    assert (cfg.loop.steps, cfg.loop.max_minutes, cfg.student.dim, cfg.student.compose) == (None, 3.0, 74, True)
    assert (cfg.objectives.similarity, cfg.objectives.ranking, cfg.corpus.heldout) == (1.0, 1.0, 200)
    assert cfg.student.start == str(tmp_path / "narrow-14_6")


def test_wider_copies_in_3_bits_take_the_bytes_of_the_others_in_8(bench):
    small, large = bench.COPIES[:3], bench.COPIES[3:]
    for one, other in zip(small, large, strict=True):
        assert (one.bits, other.bits) == (None, 3)
        narrow, wide = bench.width_of(512, one), bench.width_of(512, other)
        assert wide % 8 == 0
        assert 0.95 * 8 * narrow < 3 * wide < 8.1 * narrow
