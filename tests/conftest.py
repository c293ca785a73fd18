"""Fixtures for all tests: tiny models made on the fly, and the real data where it is present."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import onnx

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach the network

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
if str(ROOT) not in sys.path:  # `pytest` alone, unlike `python -m pytest`, leaves the checkout out
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """One torch thread: tiny tensors lose by more, and figures repeat."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("labse")`: the read-only folder of a tiny random model, made once per session.

    Names: labse (BERT, CLS, Dense tanh), minilm (BERT, mean), electra, distilbert (mean, then Dense), xlmr, mpnet
    (CLS), static.
    """
    pytest.importorskip("torch", reason="tiny models need the extra 'train'")
    from tests.tiny_models import RECIPES

    root = tmp_path_factory.mktemp("tiny")

    def make(name: str) -> Path:
        folder = root / name
        return folder if folder.exists() else RECIPES[name](folder)

    return make


@pytest.fixture
def tiny_copy(tiny: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """`tiny_copy("labse")`: a copy of a tiny model's folder that the test may damage."""

    def make(name: str) -> Path:
        return Path(shutil.copytree(tiny(name), tmp_path / name))

    return make


@pytest.fixture(scope="session")
def traced(tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, onnx.ModelProto]:
    """The folder of a tiny BERT with mean pooling, and its float32 graph. Copy both before changing them.

    One input of every layer is far larger than the others, as in trained models: that is what makes quantizing hard.
    """
    pytest.importorskip("onnxscript", reason="exports need the extra 'onnx'")
    from safetensors.torch import load_file, save_file

    from compact_labse.formats.onnx.graph import graph_of
    from compact_labse.torch_encoder import TorchEncoder

    folder = Path(shutil.copytree(tiny("minilm"), tmp_path_factory.mktemp("traced") / "minilm"))
    weights = load_file(folder / "model.safetensors")
    for name in ("embeddings.LayerNorm.weight", "encoder.layer.0.output.LayerNorm.weight"):
        weights[name][3] *= 5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, graph_of(TorchEncoder.open(folder, device="cpu"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real text beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real text in {SHARED_DATA}, which is not here")
    return SHARED_DATA
