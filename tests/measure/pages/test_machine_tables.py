"""Tables of what a model asks of a machine, from records alone."""

from __future__ import annotations

from typing import Any

import pytest

from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.pages.tables import footnotes, tables
from compact_labse.measure.results import Record, record
from compact_labse.measure.speed.latency import Cell
from tests.measure.records import model, speed

A, B = model("a"), model("b") | {"marks": ["no hash"]}
PEAKS = {"int8": [{"library": "x", "ops_per_s": 3e11}, {"library": "y", "ops_per_s": 4e11}]}


def named(records: list[Record]) -> dict[str, Any]:
    return {table.title: table for table in tables(summarise(records))}


def grid(of: dict[str, Any]) -> list[Record]:
    shapes = [Cell(mode="fixed", batch=b, tokens=t) for b in (1, 32) for t in (20, 64, 128)]
    return [speed(of, 2.0 * n + 1, 0, cell) for n, cell in enumerate([*shapes, Cell(mode="text")])]


def test_many_shapes_get_a_table_of_their_own():
    found = named([*grid(A), *grid(B)])
    assert [word for word in found["Speed"].header if "p50" in word] == ["1×20 p50", "32×20 p50"]
    shapes = found["Milliseconds by batch × tokens (@threads)"]
    assert shapes.header == ["model", "1×64", "1×128", "32×64", "32×128"]
    assert shapes.rows[0][1].value == 3
    few = named([speed(A, 1.0, 0)])
    assert "Milliseconds by batch × tokens (@threads)" not in few


def test_energy_and_the_card_are_shown_per_sentence():
    records = [speed(A, 20.0, n, cell) for n in range(3) for cell in (Cell(mode="fixed", batch=4), Cell(mode="text"))]
    for found, watts in zip(records, (10, 10, 30, 30, 20, 20), strict=True):
        found["values"]["energy"] = {"watts": watts, "joules": 1.0, "source": "RAPL"}
        found["values"]["gpu"] = {"peak_bytes": 1e9 + watts, "use_percent": watts}
    records.append(speed(B, 20.0, 0, Cell(mode="text")))
    table = named(records)["Energy and graphics card"]
    rows = {(row[0].text, row[1].text): [entry.value for entry in row[2:]] for row in table.rows}
    # 20 W at 20 ms a batch of four: 0.1 J a sentence; at 50 sentences a second: 0.4 J.
    assert rows[("a", "4x20")] == pytest.approx([20, 100, 1000, 20])
    assert rows[("a", "text")] == pytest.approx([20, 400, 1000, 20])
    assert set(rows) == {("a", "4x20"), ("a", "text")}
    assert "Energy and graphics card" not in named([speed(B, 20.0, 0)])


def test_limits_memory_and_checks_are_shown_and_absence_is_explained():
    cells = {"1x20": {"gops_per_s": 100.0, "limit_gops_per_s": 400.0, "share": 0.25, "bound": "compute"}}
    long = speed(A, 5.0, 0, Cell(mode="long", count=20_000))
    long["values"] |= {"growth": 2_000_000, "sentences": 20_000, "energy": {"not_measured": "no counter"}}
    failure = {"error": "not measured: no GPU (no driver)", "of": "x"}
    found = [
        speed(A, 5.0, 0),
        speed(B, 5.0, 0),
        long,
        record("roofline", A, {"threads": 1}, {"peaks": PEAKS, "cells": cells, "dtype": "int8"}),
        record("edge", A, {"check": "aarch64 under qemu"}, {"worst_cosine": 0.999, "texts": 3}),
        record("failure", A, {"what": "speed on cuda"}, failure),
        record("failure", B, {"what": "speed 1x512"}, {"error": "was killed", "of": "y"}),
    ]
    shown = named(found)
    assert [entry.text for entry in shown["Share of the machine's limit"].rows[0]] == ["a", "int8", "400", "25 %"]
    assert shown["Memory over a long run"].rows[0][3].value == 2
    assert shown["Edge checks"].rows[0][1].text == "aarch64 under qemu"
    notes = footnotes(summarise(found))
    assert "Not measured: a, speed on cuda: no GPU (no driver)" in notes
    assert "Failed: b, speed 1x512: was killed" in notes
    assert "Energy was not measured: no counter." in notes
    assert "b: no hash" in notes
