"""What the model-optimization kit is measured with: equal weights, few bits and clusters cost what they should."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="tiny models need the extra 'train'")
pytest.importorskip("tensorflow_model_optimization", reason="needs the extra 'tensorflow'")

from compact_labse.formats.integers import blocks4  # noqa: E402
from compact_labse.pipelines import load_pipeline  # noqa: E402


@pytest.fixture(scope="module")
def tool():
    return load_pipeline("bench", "tfmot_sizes")


def test_blocks_of_4_bits_come_back(tool):
    """Values that 4 bits can hold exactly, in a number of inputs that no block divides."""
    rng = np.random.default_rng(0)
    kernel_KN = rng.integers(-7, 8, (50, 6)).astype(np.float32) / 4
    kernel_KN[0::32] = 7 / 4
    np.testing.assert_allclose(tool.unblock4(*blocks4(kernel_KN, 32), 50), kernel_KN, atol=1e-6)


@pytest.mark.slow
def test_a_clustered_kernel_has_so_many_values_and_zips_smaller(tool):
    kernels = [np.random.default_rng(n).normal(size=(20, 30)).astype(np.float32) for n in range(2)]
    (one, other), content = tool.stored(kernels, tool.Variant(name="", clusters=4))
    assert len(np.unique(one)) == len(np.unique(other)) == 4
    assert ((one - kernels[0]) ** 2).mean() < 0.2
    assert tool.zipped(content) < 0.3 * tool.zipped(b"".join(kernel.tobytes() for kernel in kernels))


@pytest.mark.slow
def test_every_variant_is_measured_from_the_trained_weights(tool, tiny, tmp_path, monkeypatch, capsys):
    """The last row, in 8 bits, would be far off if it went on from a pruned one."""
    monkeypatch.setattr(tool, "VARIANTS", (tool.VARIANTS[0], tool.VARIANTS[2]))
    assert tool.main([str(tiny("minilm")), "--out", str(tmp_path / "x.jsonl"), "--sentences", "1"]) == 0
    found = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [row["variant"] for row in found] == [
        "as trained", "pruned 50 %", "8 bits, a scale a column", "4 bits, a scale every 32"
    ]  # fmt: skip
    assert found[0]["mean_cosine"] == 1 and found[2]["mean_cosine"] > 0.999
    assert found[1]["mean_cosine"] < found[3]["mean_cosine"] < found[2]["mean_cosine"]
    assert found[3]["zipped"] < found[2]["zipped"] < found[1]["zipped"] < found[0]["zipped"]
    assert "| 4 bits, a scale every 32 | linear layers |" in capsys.readouterr().out
