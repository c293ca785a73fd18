"""Sentences to vectors with LiteRT: python litert_client.py FOLDER ARTIFACT [EXPECTED]."""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tokenizers import Tokenizer


class Embedder:
    """For files of any length, as the TensorFlow path writes them; `tokenizer.json` cuts where the model cuts."""

    def __init__(self, folder: Path, artifact: str) -> None:
        self.run = Interpreter(str(folder / artifact), num_threads=1).get_signature_runner()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        limit = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))["model_max_length"]
        self.tokenizer.enable_truncation(limit)

    def embed(self, text: str) -> np.ndarray:
        ids = np.array([self.tokenizer.encode(text).ids], np.int32)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return self.run(**feed)["sentence_embedding"][0]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, artifact = Path(sys.argv[1]), Path(sys.argv[2])
    expected = json.loads(Path(*sys.argv[3:] or [folder / artifact.parent / "expected.json"]).read_text("utf-8"))
    embedder, rows = Embedder(folder, str(artifact)), [row for row in expected["texts"] if row["text"]]
    worst = min(float(embedder.embed(row["text"]) @ row["vector"]) for row in rows)
    print(f"worst cosine {worst:.7f} of {len(rows)} texts")
    sys.exit(worst < expected["artifacts"][artifact.name]["worst_cosine"])
