import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers

from compact_labse import load
from compact_labse.errors import Unsuitable
from compact_labse.formats.tflite import mediapipe
from compact_labse.pipelines import load_pipeline
from compact_labse.tokens import Tokens

# An environment of its own: mediapipe pins other libraries than ours.
PYTHON = os.environ.get("COMPACT_LABSE_MEDIAPIPE_PYTHON", sys.executable)
EMBED = """
import json, sys
from mediapipe.tasks import python as mediapipe
from mediapipe.tasks.python import text
base = mediapipe.BaseOptions(model_asset_path=sys.argv[1])
with text.TextEmbedder.create_from_options(text.TextEmbedderOptions(base_options=base)) as embedder:
    found = [embedder.embed(sentence).embeddings[0].embedding.tolist() for sentence in json.loads(sys.argv[2])]
print(json.dumps(found))
"""


def tokens(*, lowercase=True, model=None):
    pieces = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "morning": 5}
    tokenizer = Tokenizer(model or models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    return Tokens(tokenizer)


def test_the_vocabulary_is_written_in_the_order_of_its_ids():
    assert mediapipe.vocabulary_of(tokens()) == b"[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nmorning\n"


def test_models_that_mediapipe_would_tokenize_otherwise_are_refused():
    with pytest.raises(Unsuitable, match="turns all text to lower case, and this model's vocabulary is cased"):
        mediapipe.vocabulary_of(tokens(lowercase=False))
    with pytest.raises(Unsuitable, match="reads WordPiece vocabularies, and this model has a Unigram tokenizer"):
        mediapipe.vocabulary_of(tokens(model=models.Unigram([("<unk>", 0.0)], unk_id=0)))
    with pytest.raises(Unsuitable, match="numbers a vocabulary by its lines, and this model's has gaps"):
        mediapipe.vocabulary_of(tokens(model=models.WordPiece({"[UNK]": 0, "a": 2}, unk_token="[UNK]")))
    prompted = tokens()
    prompted.prefix = "query: "
    with pytest.raises(Unsuitable, match="puts no prompt before a text"):
        mediapipe.vocabulary_of(prompted)


@pytest.fixture
def uncased(tiny_copy):
    """The tiny BERT with a tokenizer that lowers letters."""
    folder = tiny_copy("minilm")
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["normalizer"]["lowercase"] = True
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.slow
def test_mediapipe_gives_the_vectors_of_the_source(uncased):
    pytest.importorskip("tensorflow", reason="needs the extra 'tensorflow'")
    pipeline = load_pipeline("export", "tflite_export")
    folder = pipeline.run(pipeline.TFLiteExport(model=str(uncased), mediapipe=True))
    path = folder / "model_mediapipe.tflite"
    assert "[UNK]" in zipfile.ZipFile(io.BytesIO(path.read_bytes())).read("vocab.txt").decode().splitlines()
    source, texts = load(uncased), ["please restart the server", "water boils at 100 degrees", "The Train"]
    np.testing.assert_allclose(load(path).encode(texts), source.encode(texts), atol=1e-5)
    if subprocess.run([PYTHON, "-c", "import mediapipe"], capture_output=True, check=False).returncode:
        pytest.skip("needs mediapipe: set COMPACT_LABSE_MEDIAPIPE_PYTHON to the Python of an environment that has it")
    done = subprocess.run(
        [PYTHON, "-c", EMBED, str(path), json.dumps(texts)], capture_output=True, text=True, check=True, cwd=Path("/")
    )
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(theirs, source.encode(texts), atol=1e-5)
