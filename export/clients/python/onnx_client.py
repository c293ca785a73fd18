"""Sentences to vectors with onnxruntime, tokenizers and numpy: python onnx_client.py FOLDER ARTIFACT [EXPECTED]."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer


class Embedder:
    def __init__(self, folder: Path, artifact: str) -> None:
        self.session = ort.InferenceSession(folder / artifact, providers=["CPUExecutionProvider"])
        facts = self.session.get_modelmeta().custom_metadata_map
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=int(facts["pad_id"]))
        self.tokenizer.no_truncation()
        if facts["max_tokens"] != "0":
            self.tokenizer.enable_truncation(int(facts["max_tokens"]))

    def embed(self, texts: list[str]) -> np.ndarray:
        rows = self.tokenizer.encode_batch(texts)
        ids = np.array([row.ids for row in rows], np.int64).reshape(len(rows), -1)
        mask = np.array([row.attention_mask for row in rows], np.int64).reshape(len(rows), -1)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return self.session.run(["sentence_embedding"], feed)[0]


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, artifact = Path(sys.argv[1]), Path(sys.argv[2])
    expected = json.loads(Path(*sys.argv[3:] or [folder / artifact.parent / "expected.json"]).read_text("utf-8"))
    rows = [row for row in expected["texts"] if row["text"]]
    vectors = Embedder(folder, str(artifact)).embed([row["text"] for row in rows])
    worst = min(float(vector @ row["vector"]) for vector, row in zip(vectors, rows, strict=True))
    print(f"worst cosine {worst:.7f} of {len(rows)} texts")
    sys.exit(worst < expected["artifacts"][artifact.name]["worst_cosine"])
