import json
import shutil
import subprocess
import sys

import pytest

from compact_labse.cli import main
from compact_labse.locate import locate, shipped_folder
from tests.tiny_models import change_json

FILE = f"onnx/{locate('default').name}"


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(shipped_folder(), tmp_path / "shipped")


def test_the_shipped_student_is_what_was_exported(capsys):
    assert main(["verify", "default"]) == 0
    assert capsys.readouterr().out.startswith(f"ok          {FILE}  worst cosine ")


def test_json_has_an_object_per_artifact(copied, capsys):
    assert main(["verify", str(copied), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    check = json.loads(line)
    assert (check["artifact"], check["status"]) == (FILE, "ok")
    assert 0.97 < check["worst_cosine"] < check["mean_cosine"] < 1


def test_damage_is_named_with_exit_code_3(copied, capsys):
    data = copied / f"{FILE}_data"
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    assert main(["verify", str(copied)]) == 3
    out, err = capsys.readouterr()
    assert f"mismatch    {FILE}" in out
    assert "error: 1 of 1 files checked in" in err


def test_what_cannot_be_run_is_no_success(copied, tmp_path, capsys):
    (copied / "onnx" / "expected.json").unlink()
    assert main(["verify", str(copied)]) == 3
    assert "differ, onnx/expected.json first" in capsys.readouterr().err
    change_json(copied / "onnx" / "parity.json", beside={})  # a folder exported before their hashes were noted
    assert main(["verify", str(copied)]) == 2
    assert f"could be run: {FILE}: hashes only: no expected.json" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_verifying_imports_neither_torch_nor_tensorflow():
    code = (
        "import sys; from compact_labse.cli import main; assert main(['verify', 'default']) == 0; "
        "print(sorted({'torch', 'tensorflow', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_shows_an_example(capsys):
    assert main(["verify", "--help"]) == 0
    assert "compact-labse verify default --json" in capsys.readouterr().out
