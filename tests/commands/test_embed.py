import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from compact_labse import load
from compact_labse.cli import main
from compact_labse.pipelines import load_pipeline

HEAVY = {"torch", "transformers", "onnx", "onnxscript", "tensorflow", "sentence_transformers", "datasets"}


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    pipeline = load_pipeline("export", "onnx_export")
    out = tmp_path_factory.mktemp("embed") / "model"
    pipeline.run(pipeline.OnnxExport(model=str(tiny("static")), formats=("int8",), out=out))
    return str(out)


def command(*words, stdin=b"", check=True):
    """Run the real command in a process of its own; its stderr ends with the heavy modules that it imported."""
    code = (
        "import sys\nfrom compact_labse.cli import main\ncode = main(sys.argv[1:])\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    return subprocess.run([sys.executable, "-c", code, *words], input=stdin, capture_output=True, check=check)


def test_texts_become_json_lines_without_importing_torch(model):
    done = command("embed", "Guten Morgen", "", "明天会下雨", "--model", model)
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [line["text"] for line in lines] == ["Guten Morgen", "", "明天会下雨"]
    expected = load(model).encode(["Guten Morgen", "", "明天会下雨"])
    np.testing.assert_allclose([line["vector"] for line in lines], expected, atol=1e-6)
    assert done.stderr.decode().splitlines()[-1] == "[]"


def test_a_file_becomes_one_row_a_line(model, tmp_path, capsys):
    text = tmp_path / "t.txt"
    text.write_text("one\n\nthree", "utf-8")
    assert main(["embed", "--file", str(text), "--model", model, "--out", str(tmp_path / "v.npy")]) == 0
    found = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(found, load(model).encode(["one", "", "three"]), atol=1e-6)
    assert "3 vectors of 16 values" in capsys.readouterr().err


def test_stdin(model):
    done = command("embed", "--file", "-", "--model", model, stdin=b"eins\nzwei\n")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["eins", "zwei"]


def test_a_folder_with_weights_and_an_export_runs_the_export(tiny_copy, tmp_path):
    folder = tiny_copy("static")
    pipeline = load_pipeline("export", "onnx_export")
    pipeline.run(pipeline.OnnxExport(model=str(folder), formats=("fp32", "int8")))
    done = command("embed", "Guten Morgen", "--model", str(folder), "--out", str(tmp_path / "v.npy"))
    assert done.stderr.decode().splitlines()[-1] == "[]"
    assert b"model_int8.onnx" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], 'give either texts or --file: compact-labse embed "Guten Morgen", or --file - for stdin'),
        (["a", "--file", "x"], "give either texts or --file"),
        (
            ["a", "--out", "v.csv"],
            "--out v.csv has no ending of a known format: expected one of .npy, .parquet, .jsonl",
        ),
        (["a", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["--file", "none.txt"], "cannot read none.txt: No such file or directory"),
        (["a", "--model", "./none"], "There is no './none'"),
    ],
)
def test_mistakes_are_one_sentence(model, words, message, capsys):
    if "--model" not in words:
        words = [*words, "--model", model]
    assert main(["embed", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_input_leaves_no_output(model, tmp_path):
    assert main(["embed", "--file", str(tmp_path / "none"), "--out", str(tmp_path / "v.npy"), "--model", model]) == 2
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_text(model, tmp_path):
    """Fifteen times the lines may cost a few megabytes (the pages of the output file are not the process's)."""
    peaks = []
    for lines in (8_192, 122_880):
        path = tmp_path / "t.txt"
        path.write_text("The train leaves at a quarter past nine.\n" * lines)
        code = (
            "import sys, resource; from compact_labse.cli import main; assert main(sys.argv[1:]) == 0\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        words = ["embed", "--file", str(path), "--model", model, "--out", str(tmp_path / "v.npy"), "--threads", "1"]
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
        peaks.append(int(done.stdout) / 1024)
        assert np.load(tmp_path / "v.npy", mmap_mode="r").shape == (lines, 16)
    assert peaks[1] - peaks[0] < 20, peaks


def test_a_full_disk_is_one_sentence(model, tmp_path):
    """A limit on the size of files stands for the disk: the write fails half-way in the same manner."""
    if not hasattr(resource, "RLIMIT_FSIZE"):
        pytest.skip("needs a limit on file sizes")
    text = tmp_path / "t.txt"
    text.write_text("word\n" * 5000)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from compact_labse.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["embed", "--file", str(text), "--model", model, "--out", str(tmp_path / "v.npy")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.txt"]
