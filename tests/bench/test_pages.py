"""What the benches of compression share: options that say what is missing, Spearman of a file, pages written."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from compact_labse.pipelines import load_pipeline


@pytest.fixture(scope="module")
def pages():
    return load_pipeline("bench", "pages")


@pytest.mark.parametrize(
    ("words", "missing"),
    [(["--make"], "--make needs --texts"), ([], "to measure, give --sts"), (["--make", "--texts"], "expected")],
)
def test_what_is_missing_is_said(pages, monkeypatch, capsys, words, missing):
    monkeypatch.setattr(sys, "argv", ["bench", "--work", "w", *words])
    parser = pages.options("doc", "1 GB")
    parser.add_argument("--texts", nargs="+", default=[])
    with pytest.raises(SystemExit):
        pages.parsed(parser, "texts")
    assert missing in capsys.readouterr().err


def test_figures_become_two_files(pages, tmp_path, capsys):
    pages.write(tmp_path / "new" / "some", {"rows": [1]}, "| a |\n")
    content = json.loads((tmp_path / "new" / "some.json").read_text())
    assert content["rows"] == [1]
    assert content["date"].startswith("20")
    assert (tmp_path / "new" / "some.md").read_text() == "| a |\n"
    assert "| a |" in capsys.readouterr().out


def test_spearman_of_a_file_is_that_of_its_cosines(pages, monkeypatch, tmp_path):
    """Vectors whose cosines rank the pairs as the scores do, but for one neighbouring swap."""
    from compact_labse.onnx_encoder import OnnxEncoder

    angles = dict(zip("abcd", (0.1, 0.5, 0.9, 1.4), strict=True)) | {"x": 0.0}

    class File:
        def encode(self, texts):
            return np.array([[np.cos(angles[text]), np.sin(angles[text])] for text in texts])

    monkeypatch.setattr(OnnxEncoder, "open", staticmethod(lambda path: File()))
    pairs = (["x"] * 4, list("abcd"), [4.0, 3.0, 1.0, 2.0])
    assert pages.spearman_of(tmp_path, pairs) == pytest.approx(80.0)
    assert pages.spearman_of(tmp_path, (*pairs[:2], [4.0, 3.0, 2.0, 1.0])) == pytest.approx(100.0)
