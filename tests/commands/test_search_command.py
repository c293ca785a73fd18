import io
import json
import sys
from pathlib import Path

import pytest

from compact_labse.cli import main
from compact_labse.pipelines import load_pipeline
from tests.commands.test_embed import command
from tests.tiny_models import TEXT


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory):
    """Two exports of the same model with other vectors: int8 and int4."""
    pipeline = load_pipeline("export", "onnx_export")
    out = tmp_path_factory.mktemp("search") / "model"
    pipeline.run(pipeline.OnnxExport(model=str(tiny("static")), formats=("int8", "int4"), out=out))
    return [str(out / "onnx" / f"model_{kind}.onnx") for kind in ("int8", "int4")]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["", *TEXT, "with\ttab"]), "utf-8")
    return str(path)


def search(capfd, *words):
    code = main(["search", *words])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_the_line_that_means_the_same_comes_first(models, text, capfd):
    code, out, _ = search(capfd, "--text", text, "--query", TEXT[4], "--model", models[0], "--top-k", "3")
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 3
    assert rows[0] == ["1.0000", "6", TEXT[4]]


def test_several_queries_are_named_in_the_output_and_tabs_do_not_break_it(models, text, capfd):
    _, out, _ = search(
        capfd, "--text", text, "--query", TEXT[0], "--query", "with\ttab", "--model", models[0], "--top-k", "1"
    )
    assert [line.split("\t")[::3] for line in out.splitlines()] == [[TEXT[0], TEXT[0]], ["with tab", "with tab"]]


def test_json_and_queries_from_stdin(models, text, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{TEXT[1]}\n\n{TEXT[9]}\n".encode())))
    _, out, _ = search(capfd, "--text", text, "--query", "-", "--json", "--min-score", "0.99", "--model", models[0])
    found = [json.loads(line) for line in out.splitlines()]
    assert [answer["query"] for answer in found] == [TEXT[1], TEXT[9]]
    assert [[hit["line"] for hit in answer["hits"]] for answer in found] == [[3], [11]]
    assert found[0]["hits"][0] == {"score": 1.0, "line": 3, "text": TEXT[1]}


def test_a_terminal_gets_a_table(models, text, capfd, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = search(capfd, "--text", text, "--query", "[bold]x[/bold]", "--model", models[0], "--min-score", "2")
    assert code == 0
    assert "[bold]x[/bold]" in out
    assert "nothing scores high enough" in out


def test_an_index_is_made_once_and_then_needs_no_text(models, text, tmp_path, capfd, monkeypatch):
    index = str(tmp_path / "index")
    words = ["--query", TEXT[2], "--model", models[0], "--index", index]
    first = search(capfd, "--text", text, *words)
    monkeypatch.setattr("compact_labse.search.build", None)
    assert search(capfd, "--text", text, *words) == first == search(capfd, *words)
    assert first[0] == 0


def test_an_index_of_another_text_or_model_is_refused_until_rebuilt(models, text, tmp_path, capfd):
    index, other = str(tmp_path / "index"), tmp_path / "other.txt"
    other.write_text("something else\n")
    query = ["--query", TEXT[2], "--index", index]
    assert search(capfd, "--text", text, *query, "--model", models[0])[0] == 0
    code, _, error = search(capfd, "--text", str(other), *query, "--model", models[0])
    assert code == 2
    assert "has changed since the index" in error
    assert "--rebuild makes it again" in error
    code, _, error = search(capfd, "--text", text, *query, "--model", models[1])
    assert code == 2
    assert "was made with another model than" in error
    code, out, _ = search(capfd, "--text", str(other), *query, "--model", models[1], "--rebuild")
    assert code == 0
    assert "something else" in out


def test_an_index_is_searched_by_the_file_that_made_it_whatever_the_folder_would_choose(models, text, tmp_path, capfd):
    """The choice of a folder's runtime follows a table that may change: no index is lost by that."""
    folder = str(Path(models[0]).parents[1])
    words = ["--text", text, "--query", TEXT[2], "--index", str(tmp_path / "index")]
    first = search(capfd, *words, "--model", models[1])
    assert "model_int4.onnx" in first[2]
    assert search(capfd, *words, "--model", folder) == first
    code, _, error = search(capfd, *words, "--model", folder, "--rebuild")
    assert code == 0
    assert "model_int8.onnx" in error


def test_a_folder_that_is_no_index_is_never_replaced(models, text, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("kept")
    words = ["--text", text, "--query", "q", "--model", models[0], "--index", str(tmp_path / "mine")]
    for more in ([], ["--rebuild"]):
        code, _, error = search(capfd, *words, *more)
        assert code == 2
        assert "is not a search index" in error
    assert (tmp_path / "mine" / "letter.txt").read_text() == "kept"


def test_a_damaged_index_can_be_rebuilt(models, text, tmp_path, capfd):
    words = ["--text", text, "--query", TEXT[0], "--model", models[0], "--index", str(tmp_path / "index")]
    first = search(capfd, *words)
    (tmp_path / "index" / "index.json").write_text("{")
    code, _, error = search(capfd, *words)
    assert code == 2
    assert "make the index again with --rebuild" in error
    assert search(capfd, *words, "--rebuild") == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", "t.txt"], 'nothing to look for: --query "..."'),
        (["--query", "q"], "nothing to search: --text FILE, or --index DIR of an earlier search"),
        (["--query", "q", "--text", "-"], "--text takes a file, which may be read twice"),
        (["--query", "q", "--text", "t.txt", "--top-k", "0"], "--top-k must be at least 1, got 0"),
        (["--query", "q", "--text", "t.txt", "--rebuild"], "--rebuild needs --index DIR"),
        (["--query", "q", "--index", "none"], "there is no index none yet: --text FILE says what to make it from"),
        (["--query", "q", "--text", "none.txt"], "cannot read none.txt"),
        (["--query", "q", "--text", "t.txt", "--backend", "magic"], "unknown kind of index 'magic'"),
        (["--query", " ", "--text", "t.txt"], "the queries are all blank"),
    ],
)
def test_mistakes_are_one_sentence(models, tmp_path, words, message, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("a line\n")
    code, out, error = search(capfd, *words, "--model", models[0])
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_search_imports_no_torch(models, text):
    done = command("search", "--text", text, "--query", "q", "--model", models[0])
    assert done.stderr.decode().splitlines()[-1] == "[]"
