"""Tasks of mteb: a tiny one with its data at hand, one whose data is out of reach, none without the library."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from compact_labse.errors import UserError
from compact_labse.measure.artifact import open_all
from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.pages.tables import tables
from compact_labse.measure.quality.mteb_tasks import find_tasks, record_mteb
from compact_labse.measure.results import Results


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(UserError, match=r"pip install 'compact-labse\[mteb\]'|mteb.*not installed"):
        find_tasks(["BUCC.v2"])
    assert find_tasks([]) == []


def tiny_task() -> Any:
    pytest.importorskip("mteb", reason="needs the extra 'mteb'")
    import datasets
    from mteb.abstasks import AbsTaskBitextMining
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskBitextMining):
        metadata = TaskMetadata(
            name="TinyBitext",
            dataset={"path": "none/none", "revision": "1"},
            description="three sentences",
            type="BitextMining",
            eval_splits=["test"],
            eval_langs={"en-en": ["eng-Latn", "eng-Latn"]},
            main_score="accuracy",
        )

        def load_data(self, **_: Any) -> None:
            side = ["a cat", "two dogs", "the last train"]
            rows = {"sentence1": side, "sentence2": side}
            self.dataset = {"en-en": datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows)})}
            self.data_loaded = True

    return Tiny()


@pytest.mark.slow
def test_a_task_is_run_recorded_once_and_shown(tiny):
    task, results, opened = tiny_task(), Results(), open_all([str(tiny("minilm"))])
    (found,) = record_mteb(results, opened, [task])
    assert found["kind"] == "mteb"
    assert found["values"]["languages"] == {"en-en": {"accuracy": 100.0}}
    assert record_mteb(results, opened, [task]) == [found]
    assert len(results.records) == 1
    table = next(table for table in tables(summarise([found])) if table.title == "MTEB")
    assert [entry.text for entry in table.rows[0]] == ["minilm", "100.0"]


@pytest.mark.slow
def test_data_out_of_reach_is_a_row_that_says_so(tiny):
    pytest.importorskip("mteb", reason="needs the extra 'mteb'")
    (found,) = record_mteb(Results(), open_all([str(tiny("static"))]), find_tasks(["BUCC.v2"]))
    assert found["kind"] == "failure"
    assert "mteb/bucc-bitext-mining" in found["values"]["error"]


@pytest.mark.slow
def test_an_unknown_task_is_refused():
    pytest.importorskip("mteb", reason="needs the extra 'mteb'")
    with pytest.raises(UserError, match="mteb has no task 'Nonsense'"):
        find_tasks(["Nonsense"])
