"""Rows, ratios and what is left out, from records whose figures are known."""

from __future__ import annotations

import pytest

from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.results import record
from compact_labse.measure.speed.latency import Cell
from tests.measure.records import SHAPES, agrees, model, retrieval, speed

TEACHER, STUDENT = model("teacher", "torch", 90e6), model("student")
TEXT = Cell(mode="text")


def test_medians_spread_and_ratios_over_paired_rounds():
    teacher = [speed(TEACHER, ms, n) for n, ms in enumerate([10, 11, 12, 10.5, 10])]
    student = [speed(STUDENT, ms, n) for n, ms in enumerate([5, 5.5, 6, 5.2, 4.9])]
    summary = summarise(teacher + student)
    assert [row.label for row in summary.rows] == ["teacher", "student"]
    found = summary.rows[1].speeds["1x20"]
    assert (found.main, found.tokenize, found.rounds) == (5.2, 0.1, 5)
    assert found.p95 == pytest.approx(6.24)
    assert found.spread == pytest.approx(100 * 1.1 / 2 / 5.2)
    assert found.versus is not None
    assert found.versus.verdict == "higher"
    assert found.versus.ratio == pytest.approx(2)
    assert summary.rows[0].speeds["1x20"].versus is None


def test_throughput_counts_up_where_latency_counts_down():
    records = [speed(m, ms, n, TEXT) for n in range(5) for m, ms in ((TEACHER, 10 + n), (STUDENT, 2 + n / 5))]
    versus = summarise(records).rows[1].speeds["text"].versus
    assert versus is not None
    assert versus.ratio == pytest.approx(5)
    assert versus.verdict == "higher"


def test_only_shared_rounds_are_compared():
    records = [speed(TEACHER, 10, n) for n in range(3)] + [speed(STUDENT, 5, n) for n in (1, 2, 7)]
    found = summarise(records).rows[1].speeds["1x20"]
    assert found.rounds == 3
    assert found.versus is not None
    assert found.versus.rounds == 2


def test_measurements_of_different_runs_are_marked():
    records = [speed(TEACHER, 10, 0), speed(TEACHER, 10, 1)]
    apart = summarise(records + [speed(STUDENT, 5, n, session="s2") for n in range(2)])
    assert not apart.rows[1].speeds["1x20"].interleaved
    assert summarise(records + [speed(STUDENT, 5, n) for n in range(2)]).rows[1].speeds["1x20"].interleaved


def test_the_newest_of_quick_and_full_runs_counts():
    quick = [speed(STUDENT, 9, n, Cell(mode="fixed", seconds=0.1)) | {"date": "2026-01-01"} for n in range(2)]
    full = [speed(STUDENT, 5, n) | {"date": "2026-01-02"} for n in range(3)]
    assert summarise(quick + full).rows[0].speeds["1x20"].main == 5
    assert summarise(full + quick).rows[0].speeds["1x20"].main == 5


def test_speeds_of_another_machine_and_qualities_on_other_text_are_left_out():
    old = {"date": "2026-01-01"}
    records = [
        speed(TEACHER, 10, 0) | old | {"machine": {"cpu": "slow"}},
        speed(STUDENT, 5, 0) | {"date": "2026-02-01"},
        retrieval(TEACHER, "pud", digest="short", de=99) | old,
        retrieval(STUDENT, "pud", digest="long", de=90) | {"date": "2026-02-01"},
    ]
    summary = summarise(records)
    assert summary.rows[0].speeds == {}
    assert summary.rows[0].quality == {}
    assert summary.rows[1].quality["pud"]["means"]["all"]["xx_en"] == 90
    assert summary.older == 2


def test_memory_cold_start_and_both_qualities():
    row = summarise(
        [speed(STUDENT, 5, 0), speed(STUDENT, 5, 0, SHAPES[1]), retrieval(STUDENT, "pud", de=90), agrees(STUDENT)]
    )
    found = row.rows[0]
    assert (found.cold_start_ms, found.peak_bytes, found.baseline_bytes) == (300, 90_000_000, 30_000_000)
    assert row.cells == ["1x20", "32x20"]
    assert found.agreement["pud"]["means"]["en"]["mean_cosine"] == 0.98


def test_a_failure_is_a_row_until_the_measurement_succeeds():
    good = speed(STUDENT, 5, 0)
    failure = record("failure", STUDENT, {"what": "speed 1x20"}, {"error": "no memory", "of": good["key"]})
    assert summarise([failure]).rows[0].failures == ["speed 1x20: no memory"]
    assert summarise([failure, failure]).rows[0].failures == ["speed 1x20: no memory"]
    assert summarise([failure, good]).rows[0].failures == []


def test_chosen_models_keep_their_order_and_newest_names():
    records = [retrieval(TEACHER, "pud", de=90), retrieval(STUDENT, "pud", de=80)]
    renamed = {**STUDENT, "label": "mine"}
    assert [row.label for row in summarise(records, [renamed, TEACHER]).rows] == ["mine", "teacher"]
    assert [row.label for row in summarise(records, [TEACHER]).rows] == ["teacher"]
