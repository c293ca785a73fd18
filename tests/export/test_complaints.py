"""Every complaint that `export/complaints.md` calls settled has its tests, among them those below."""

import re
from pathlib import Path

import pytest

from compact_labse import load
from compact_labse.pipelines import load_pipeline

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "export" / "complaints.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| [")]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("row", ROWS, ids=[re.findall(r"\[(.*?)\]", row)[0] for row in ROWS])
def test_the_tests_that_settle_a_complaint_exist(row):
    assert NAMED.search(row)
    assert missing(row) == []


def test_every_test_that_the_page_names_exists():
    assert missing(PAGE) == []
    assert missing("`tests/export/test_complaints.py::test_gone` `tests/gone.py::test_a`") == ["test_gone", "test_a"]


def missing(text):
    """Names of tests in a text that no file has; a name that is not written as path and test is one, too."""
    named = NAMED.findall(text)
    assert text.count("::") == len(named), "a test is not named as `tests/PATH.py::test_NAME`"
    files = {path: ROOT / path for path, _ in named}
    found = {path: file.read_text("utf-8") if file.is_file() else "" for path, file in files.items()}
    return [name for path, name in named if not re.search(rf"^def {name}\(", found[path], re.MULTILINE)]


def test_every_report_is_linked():
    assert len(ROWS) > 25
    for row in ROWS:
        for name, number, link in re.findall(r"\[([\w./-]+)#(\d+)\]\((\S+?)\)", row):
            assert link in {
                f"https://github.com/{name}/issues/{number}",
                f"https://huggingface.co/{name}/discussions/{number}",
            }


def test_the_student_that_ships_is_small_enough_for_a_page():
    folder = ROOT / "compact_labse" / "shipped"
    parts = [*folder.glob("onnx/model_*"), folder / "tokenizer.json"]
    assert sum(path.stat().st_size for path in parts) < 20_000_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("static", "int8"),
        ("static", "int4"),
        ("static", "int3"),
        ("static", "int2"),
        pytest.param("minilm", "int8", marks=pytest.mark.slow),
    ],
)
def test_only_gathered_rows_of_a_table_become_floats(tiny, tmp_path, name, kind):
    """A table that is dequantized as a whole needs, in memory, what quantizing saved."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
    pipeline = load_pipeline("export", "onnx_export")
    loose = {"worst_cosine": 0.5, "language_cosine": 0.5, "neighbours": 0.0, "language_neighbours": 0.0}
    out = tmp_path / name
    pipeline.run(pipeline.OnnxExport(model=str(tiny(name)), formats=(kind,), out=out, loosen=loose, reason="tiny"))
    graph = onnx.load(str(out / "onnx" / f"model_{kind}.onnx")).graph
    rows = load(tiny(name)).tokens.vocab_size
    tables = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.dims[0] == rows}
    assert tables
    for node in graph.node:
        if tables & set(node.input):
            assert node.op_type == "Gather" and node.input[0] in tables, node.op_type
