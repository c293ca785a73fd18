"""What evaluation says of encoders whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compact_labse.measure.quality.datasets import Dataset, Parallel, Similarity
from compact_labse.measure.quality.evaluate import (
    CORRELATIONS,
    RETRIEVAL,
    Remembering,
    agreement_texts,
    compare_encoders,
    evaluate,
)
from compact_labse.measure.quality.languages import PUD_17, TATOEBA_SETS


class Meaning:
    """Knows the number at the end of a sentence; `blind` languages get vectors of something else."""

    def __init__(self, blind: tuple[str, ...] = (), dim: int = 64) -> None:
        self.blind, self.dim, self.encoded = blind, dim, 0

    def encode(self, texts: list[str]) -> np.ndarray:
        self.encoded += len(texts)
        rows = [int(text.split()[1]) + (7 if text.split()[0] in self.blind else 0) for text in texts]
        return np.eye(self.dim, dtype=np.float32)[np.array(rows) % self.dim]


def numbered(codes: tuple[str, ...], name: str = "tatoeba", count: int = 12) -> Parallel:
    english = [f"en {n}" for n in range(count)]
    return Parallel(name=name, pairs={code: ([f"{code} {n}" for n in range(count)], english) for code in codes})


def test_retrieval_per_language_means_worst_and_untrained():
    found = evaluate(Meaning(blind=("kat", "kor")), numbered(TATOEBA_SETS["36"]), trained=["de", "ko"])
    assert found["languages"]["deu"] == dict.fromkeys(RETRIEVAL, 100.0) | {"pairs": 12}
    assert found["languages"]["kat"]["xx_en"] == 0
    assert found["means"]["36"]["xx_en"] == pytest.approx(100 * 34 / 36, abs=1e-3)
    assert found["means"]["29"]["xx_en"] == pytest.approx(100 * 28 / 29, abs=1e-3)
    assert set(found["means"]) == {"29", "36"}
    assert found["headline"] == "36"
    assert set(found["worst"][:2]) == {"kat", "kor"}
    assert len(found["untrained"]) == 34
    assert "kat" in found["untrained"]
    json.dumps(found, allow_nan=False)


def test_each_english_sentence_is_encoded_once():
    encoder = Meaning()
    evaluate(encoder, numbered(("deu", "fra", "ita")))
    assert encoder.encoded == 12 + 3 * 12


@pytest.mark.parametrize(
    ("dataset", "sets"),
    [
        (numbered(PUD_17, "pud"), {"17"}),
        (numbered(PUD_17[1:], "pud"), {"all"}),
        (numbered(("de", "fr"), "sample"), {"all"}),
        (numbered((*TATOEBA_SETS["14"], "kat")), {"14", "all"}),
    ],
)
def test_means_are_given_for_complete_sets_only(dataset: Parallel, sets: set[str]):
    assert set(evaluate(Meaning(), dataset)["means"]) == sets


def test_similarity_of_known_order_and_of_a_constant_encoder():
    pairs: Dataset = Similarity(
        name="sts", pairs={"de": (["a 1", "a 2", "a 3"], ["b 1", "b 9", "b 8"], [5.0, 1.0, 1.0])}
    )
    assert evaluate(Meaning(), pairs)["means"] == {"all": dict.fromkeys(CORRELATIONS, 100.0)}

    class Constant:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.ones((len(texts), 1), dtype=np.float32)

    assert evaluate(Constant(), pairs)["languages"]["de"]["spearman"] == 0


def test_agreement_names_language_and_text():
    dataset = numbered(("deu", "kor"), count=20)
    texts = agreement_texts(dataset, 15)
    assert {code: len(found) for code, found in texts.items()} == {"deu": 15, "kor": 15, "en": 15}
    teacher = Meaning()
    vectors = {code: teacher.encode(found) for code, found in texts.items()}
    found = compare_encoders(texts, Meaning(blind=("kor",)), vectors)
    assert found["languages"]["deu"]["mean_cosine"] == found["means"]["en"]["mean_cosine"] == 1
    assert found["languages"]["kor"]["worst_cosine"] == 0
    assert found["languages"]["kor"]["worst_index"] == 0
    assert "kor 0" not in json.dumps(found)
    assert found["worst"][0] == "kor"
    wide = compare_encoders(texts, Meaning(dim=70), vectors)
    assert wide["measures"] == ["top1_overlap", "top10_overlap"]
    assert wide["languages"]["deu"]["mean_cosine"] is None


def test_a_remembering_encoder_encodes_each_text_once_and_gives_the_same_vectors():
    encoder = Meaning()
    remembering = Remembering(encoder)
    texts = ["en 3", "de 5", "en 3", "fr 1"]
    assert np.array_equal(remembering.encode(texts), Meaning().encode(texts))
    assert encoder.encoded == 3
    again = ["fr 9", "de 5", "fr 1", "en 3"]
    assert np.array_equal(remembering.encode(again), Meaning().encode(again))
    assert encoder.encoded == 4
