"""Tables of the costly measures, from records as the suite writes them."""

from __future__ import annotations

import pytest

from compact_labse.measure.pages.detail_tables import (
    batches_table,
    quantized_table,
    retrieval_table,
    separation_table,
    truncated_table,
    unseen_table,
)
from compact_labse.measure.pages.entries import Table
from compact_labse.measure.pages.summary import MORE, Summary, summarise
from compact_labse.measure.pages.tables import tables
from compact_labse.measure.results import record
from tests.measure.records import measured, model, retrieval

STUDENT, OTHER = model("student"), model("other")


@pytest.fixture(scope="module")
def summary() -> Summary:
    records = [measured(STUDENT, kind) for kind in MORE if kind != "mteb"]
    records += [retrieval(OTHER, "pud", untrained=("ka", "jv"), de=90.0, ka=20.0, jv=40.0)]
    records += [retrieval(STUDENT, "pud", de=91.0, ka=70.0, jv=60.0)]
    return summarise(records, [STUDENT, OTHER])


def row(table: Table | None, label: str) -> dict[str, str]:
    assert table is not None
    (found,) = [line for line in table.rows if line[0].text == label]
    return dict(zip(table.header, [entry.text for entry in found], strict=True))


def test_every_measure_has_its_figures(summary: Summary):
    assert row(retrieval_table(summary), "student")["mining F1"] == "81.0"
    assert row(retrieval_table(summary), "student")["MRR"] == "88.0"
    assert row(quantized_table(summary), "student")["rescored kept %"] == "93.0"
    assert row(truncated_table(summary), "student")["1/2 of values"] == "85.0"
    assert row(truncated_table(summary), "student")["1/16 of values"] == "–"
    assert row(batches_table(summary), "student")["batch 64 lowest cosine"] == "0.998000"
    assert row(separation_table(summary), "student")["pairs cosine"] == "0.700"


def test_unseen_languages_are_named_weakest_first(summary: Summary):
    found = row(unseen_table(summary), "other")
    assert found["weakest first"] == "ka 20 jv 40"
    assert (found["their mean"], found["mean of these"]) == ("90.0", "30.0")
    assert len(getattr(unseen_table(summary), "rows", [])) == 1  # nothing is known of what the student saw


def test_an_artifact_without_a_measure_has_no_row_and_a_report_without_any_no_table(summary: Summary):
    table = quantized_table(summary)
    assert table is not None
    assert [line[0].text for line in table.rows] == ["student"]
    bare = summarise([retrieval(OTHER, "pud", de=90.0)])
    assert [found.title for found in tables(bare)] == ["Size and memory", "Quality"]


def test_a_later_record_of_other_text_replaces_the_earlier(summary: Summary):
    old, new = measured(STUDENT, "mining"), measured(STUDENT, "mining")
    new["config"] = {**new["config"], "digest": "other"}
    new["values"]["means"]["all"]["f1"] = 12.0
    new["date"] = "9999"
    assert row(retrieval_table(summarise([old, new])), "student")["mining F1"] == "12.0"
    failed = record("failure", STUDENT, {"what": "mining on pud"}, {"error": "no room", "of": "k"})
    assert summarise([failed]).rows[0].failures == ["mining on pud: no room"]
