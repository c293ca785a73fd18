import os
import subprocess
import sys

import pytest

from compact_labse import load
from compact_labse.formats.tflite.fixed import lengths_of
from compact_labse.formats.tflite.write import cut_at
from compact_labse.tflite_encoder import FixedRunner

# litert-torch pins typing_extensions and pydantic, so it has an environment of its own.
PYTHON = os.environ.get("COMPACT_LABSE_LITERT_TORCH_PYTHON", sys.executable)


def test_lengths_end_where_the_model_does():
    assert lengths_of(None) == (16, 32, 64, 128, 512)
    assert lengths_of(256) == (16, 32, 64, 128, 256)
    assert lengths_of(128) == (16, 32, 64, 128)
    assert lengths_of(20) == (16, 20)


def test_an_encoder_cut_shorter_leaves_the_first_as_it_was(tiny):
    source = load(tiny("static"))
    short = cut_at(source, 4)
    assert len(short.tokenize(["one two three four five six"])[0]) == short.max_tokens == 4
    assert source.max_tokens is None
    assert len(source.tokenize(["one two three four five six"])[0]) > 4
    assert cut_at(short, 8) is short


@pytest.mark.slow
def test_without_tensorflow_every_length_has_a_signature(tiny, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="needs the extra 'tflite'")
    if subprocess.run([PYTHON, "-c", "import litert_torch"], capture_output=True, check=False).returncode:
        pytest.skip("needs litert-torch: set COMPACT_LABSE_LITERT_TORCH_PYTHON to the Python of an environment with it")
    out = tmp_path / "out"
    words = ["export", str(tiny("minilm")), "--tflite", "--int8", "--converter", "litert_torch", "--out", str(out)]
    subprocess.run([PYTHON, "-m", "compact_labse", *words], check=True, timeout=280)
    encoder, source = load(out), load(tiny("minilm"))
    assert isinstance(encoder.runner, FixedRunner)
    assert list(encoder.runner.lengths) == [16, 32]
    texts = ["The train leaves at nine.", "", "明天", "x " * 40]
    assert (encoder.encode(texts) * source.encode(texts)).sum(1).min() > 0.99
