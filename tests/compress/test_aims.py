"""What healing aims at: vectors of the same width, similarities otherwise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")

from safetensors.numpy import load_file

from compact_labse.compress.healing import aims
from compact_labse.compress.shared_directions import write_narrow


def test_vectors_of_the_same_width_and_similarities_otherwise(tiny, tmp_path):
    whole = tiny("static")
    width = load_file(whole / "model.safetensors")["embedding.weight"].shape[1]
    write_narrow(whole, np.eye(width)[:, : width // 2], tmp_path / "narrow")
    assert aims(str(whole), whole) == {"regression": 1.0, "similarity": 0.0}
    assert aims(str(whole), tmp_path / "narrow") == {"regression": 0.0, "similarity": 1.0}
