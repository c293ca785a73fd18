"""Stages are built once, again when their inputs change, and never left half-built."""

from __future__ import annotations

import pytest

from compact_labse.errors import UserError
from compact_labse.stages import alone_in, hash_of, read_manifest, stage


def builder(log, fail=False):
    def build(folder):
        log.append(folder)
        (folder / "data").write_text(str(len(log)))
        if fail:
            raise RuntimeError("died")
        return {"rows": len(log)}

    return build


def test_a_stage_is_reused_until_what_it_depends_on_changes(tmp_path):
    log, folder = [], tmp_path / "stage"
    first = stage(folder, "pairs", {"seed": 1}, builder(log))
    assert stage(folder, "pairs", {"seed": 1}, builder(log)) == first
    assert len(log) == 1
    second = stage(folder, "pairs", {"seed": 2}, builder(log))
    assert (second["facts"], second["key"] == first["key"]) == ({"rows": 2}, False)
    assert (folder / "data").read_text() == "2"


def test_a_stage_does_not_replace_what_it_did_not_make(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "en-de.tsv").write_text("one\teins")
    with pytest.raises(UserError, match=r"pairs holds files that were not made here.*--work"):
        stage(folder, "pairs", {"seed": 1}, builder([]))
    assert [path.name for path in folder.iterdir()] == ["en-de.tsv"]


def test_a_stage_that_dies_leaves_the_old_one(tmp_path):
    log, folder = [], tmp_path / "stage"
    stage(folder, "pairs", {"seed": 1}, builder(log))
    with pytest.raises(RuntimeError):
        stage(folder, "pairs", {"seed": 2}, builder(log, fail=True))
    assert read_manifest(folder)["facts"] == {"rows": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_torn_manifest_counts_as_none(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    assert read_manifest(tmp_path) == {}


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match="another run is working in"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):  # free again
        pass


def test_a_command_that_fails_at_once_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match="typo"), alone_in(tmp_path / "out.work"):
        raise UserError("typo")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="late"), alone_in(tmp_path / "out.work"):
        (tmp_path / "out.work" / "pairs").mkdir()
        raise UserError("late")
    assert (tmp_path / "out.work" / "pairs").is_dir()


def test_the_hash_depends_on_values_and_not_on_the_order_of_keys():
    assert hash_of({"a": 1, "b": [2]}) == hash_of({"b": [2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
