"""What compression writes is read by sentence-transformers, to the same vectors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from compact_labse import sample
from compact_labse.compress.structure import Prune, prune
from compact_labse.compress.trim import Trim, trim
from compact_labse.encoder import load


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("labse", {"layers": 1, "ffn": 12}),
        ("minilm", {"heads": 1}),
        ("minilm", {"table": 8}),
        ("static", {"table": 8}),
        ("xlmr", {"heads": 1, "ffn": 12}),
        ("mpnet", {"heads": 1}),
        ("distilbert", {"layers": 1}),
    ],
)
def test_trimmed_and_pruned_folders(tiny, tmp_path, name, sizes):
    from sentence_transformers import SentenceTransformer

    file = tmp_path / "texts.txt"
    file.write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    trim(Trim(model=str(tiny(name)), corpus=(str(file),), out=tmp_path / "trimmed"))
    prune(Prune(model=str(tmp_path / "trimmed"), data=(str(file),), texts=16, out=tmp_path / "pruned", **sizes))
    texts = [*sample.sentences("en", "test")[:8], *sample.sentences("de")[:4]]
    theirs = SentenceTransformer(str(tmp_path / "pruned"), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(theirs, load(str(tmp_path / "pruned")).encode(texts), atol=1e-5)
