"""What must start at once, or run without torch, imports nothing heavy."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import compact_labse
from compact_labse.cli import COMMANDS
from compact_labse.errors import EXTRA_OF

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "datasets",
    "onnx",
    "onnxscript",
    "pandas",
    "scipy",
    "sentence_transformers",
    "tensorflow",
    "torch",
    "transformers",
}
SLOW_TO_START = HEAVY | {"numpy", "onnxruntime", "rich", "tokenizers", "usearch"}
# These run in an installation of the base dependencies alone.
RUNTIME = [
    "compact_labse",
    "compact_labse.cli",
    "compact_labse.commands.embed",
    "compact_labse.commands.search",
    "compact_labse.encoder",
    "compact_labse.errors",
    "compact_labse.folder",
    "compact_labse.measured",
    "compact_labse.onnx_encoder",
    "compact_labse.pipelines",
    "compact_labse.progress",
    "compact_labse.sample",
    "compact_labse.search",
    "compact_labse.tflite_encoder",
    "compact_labse.tokens",
    "compact_labse.writing",
]


def imported_by(code: str) -> set[str]:
    """The top-level modules in a fresh process after `code`."""
    code += "\nimport json, sys; print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_check_sees_a_heavy_import():
    assert imported_by("import numpy") & SLOW_TO_START == {"numpy"}


@pytest.mark.parametrize("module", RUNTIME)
def test_runtime_modules_import_nothing_heavy(module: str):
    assert imported_by(f"import {module}") & HEAVY == set()


@pytest.mark.parametrize("code", ["import compact_labse", "from compact_labse.cli import main; main(['--help'])"])
def test_the_package_and_help_import_not_even_numpy(code: str):
    assert imported_by(code) & SLOW_TO_START == set()


# The options of these are the pipelines' dataclasses, which stand beside the training code that they configure.
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("distill", "pretrain", "train")])
def test_the_help_of_a_command_imports_nothing_heavy(name: str):
    assert imported_by(f"from compact_labse.cli import main; assert main([{name!r}, '--help']) == 0") & HEAVY == set()


def test_help_answers_within_400_ms():
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "compact_labse", "--help"], check=True, capture_output=True, cwd=ROOT)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.4, durations


def test_load_is_found_lazily_and_listed():
    assert {"load", "Encoder", "UserError"} <= set(dir(compact_labse))
    assert callable(compact_labse.load)
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        getattr(compact_labse, "lod")  # noqa: B009 mypy knows the name is wrong, too


def test_every_module_imports():
    for module in pkgutil.walk_packages(compact_labse.__path__, "compact_labse."):
        if module.name == "compact_labse.__main__":
            continue
        try:
            __import__(module.name)
        except ModuleNotFoundError as error:  # a library of an extra that this environment does not have
            if str(error.name).partition(".")[0] not in EXTRA_OF:
                raise


WITHOUT_EXTRAS = """
import sys
sys.path.insert(0, {root!r})
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
from compact_labse.cli import main
sys.exit(main({words!r}))
"""


@pytest.mark.parametrize("words", [["embed", "Guten Morgen", "--out", "vectors.npy"]])
def test_embedding_works_where_only_the_base_is_installed(tmp_path: Path, words: list[str]):
    if not (ROOT / "compact_labse/shipped/onnx").is_dir():
        pytest.skip("needs the shipped student, which this checkout does not have")
    code = WITHOUT_EXTRAS.format(root=str(ROOT), heavy=sorted(HEAVY), words=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vectors.npy").is_file()


def test_a_command_without_its_extra_says_which_one():
    code = WITHOUT_EXTRAS.format(root=str(ROOT), heavy=["jsonargparse", *sorted(HEAVY)], words=["distill", "--help"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "pip install 'compact-labse[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
