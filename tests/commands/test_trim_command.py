"""`compact-labse trim` as a user calls it."""

from __future__ import annotations

import json

import pytest

from compact_labse.cli import main

pytest.importorskip("torch", reason="tiny models need the extra 'train'")


def test_a_table_and_lineage(tiny, tmp_path, capsys):
    assert main(["trim", str(tiny("minilm")), "--languages", "en,de", "--out", str(tmp_path / "new")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("pieces   ")
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["en", "de"]
    assert "only the embedded sample" in err
    lineage = json.loads((tmp_path / "new" / "lineage.json").read_text())
    assert lineage["command"] == "trim"
    assert lineage["config"]["result"]["pieces_after"] < lineage["config"]["result"]["pieces_before"]


def test_json(tiny, tmp_path, capsys):
    words = ["trim", str(tiny("xlmr")), "--languages", "en", "--out", str(tmp_path / "new"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["languages"]["en"]["changed"] == 0
    assert set(found["reasons"]) == {"special", "characters", "used", "letters"}


def test_an_existing_folder_is_refused(tiny, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine").write_text("x")
    assert main(["trim", str(tiny("minilm")), "--languages", "en", "--out", str(tmp_path / "new")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert (tmp_path / "new" / "mine").read_text() == "x"


def test_overwriting_deletes_models_alone(tiny, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    words = ["trim", str(tiny("minilm")), "--languages", "en", "--out", str(tmp_path / "thesis"), "--overwrite"]
    assert main(words) == 2
    assert "thesis is no model folder" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
