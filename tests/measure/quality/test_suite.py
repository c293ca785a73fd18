"""All measures of a data set on encoders whose answers are known, as records that are made once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from compact_labse.encoder import load
from compact_labse.measure.artifact import Artifact, open_all
from compact_labse.measure.quality.datasets import Parallel, Similarity
from compact_labse.measure.quality.evaluate import Remembering
from compact_labse.measure.quality.measures import MEASURES
from compact_labse.measure.quality.suite import record_suite
from compact_labse.measure.results import Results
from tests.measure.vectors import noisy, unit

COUNT = 24
WORDS = "river stone cloud green paper train window summer night garden".split()


def sentences(code: str) -> list[str]:
    return [f"{code} {WORDS[n % 10]} {WORDS[(3 * n + 1) % 10]} {n}" for n in range(COUNT)]


DATA = Parallel(name="pud", pairs={code: (sentences(code), sentences("en")) for code in ("de", "fr", "ko")})


class Known:
    """Sentence number n near row n of a table; `deaf` languages are noise."""

    def __init__(self, deaf: tuple[str, ...] = ()) -> None:
        self.table, self.deaf = unit(COUNT, 32, 1), deaf

    def encode(self, texts: list[str]) -> np.ndarray:
        found = np.vstack([self.table[int(text.split()[-1])] for text in texts])
        moved = noisy(found, 0.3, len(texts[0]))
        strange = np.array([text.split()[0] in self.deaf for text in texts])
        return np.where(strange[:, None], unit(len(texts), 32, 9), moved)


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "batches"])
def test_a_deaf_language_is_worst_and_every_value_is_plain_json(name: str):
    found = MEASURES[name].run(Remembering(Known(deaf=("ko",))), DATA, ["de", "fr"])
    assert found["worst"][0] == "ko"
    assert found["untrained"] == ["ko"]
    first = found["measures"][0]
    assert found["languages"]["de"][first] > found["languages"]["ko"][first]
    assert found["means"]["all"].keys() == set(found["measures"])
    json.dumps(found, allow_nan=False)


def test_search_and_mining_know_a_good_language_from_a_deaf_one():
    encoder = Remembering(Known(deaf=("ko",)))
    searched = MEASURES["search"].run(encoder, DATA, None)["languages"]
    assert searched["de"]["recall_1"] > 90 > 30 > searched["ko"]["recall_1"]
    mined = MEASURES["mining"].run(encoder, DATA, None)["languages"]
    assert mined["de"]["f1"] > 80 > 40 > mined["ko"]["f1"]


def test_the_picture_joins_all_languages_with_one_english_point_where_english_is_shared():
    found = MEASURES["space"].run(Remembering(Known()), DATA, None)
    assert found["shared_english"]
    assert set(found["picture"]["pca"]) == {"de", "fr", "ko", "en"}
    own = Parallel(name="x", pairs={"de": DATA.pairs["de"], "fr": (sentences("fr")[::-1], sentences("en")[::-1])})
    found = MEASURES["space"].run(Remembering(Known()), own, None)
    assert not found["shared_english"]
    assert set(found["picture"]["pca"]) == {"de", "fr", "en de", "en fr"}
    assert sum(found["histograms"]["de"]["pairs"]) == COUNT


def test_the_suite_records_once_and_skips_what_exists(tiny, tmp_path: Path):
    opened = open_all([str(tiny("minilm")), str(tiny("static"))])
    path = tmp_path / "results.jsonl"
    scored = Similarity(name="sts", pairs={"de": (["a", "b c", "d"], ["a", "x", "y"], [5.0, 2.0, 1.0])})
    quick = record_suite(Results(path), opened, [DATA, scored], teacher=opened[0])
    assert [found["kind"] for found in quick] == ["quality", "quality", "quality", "agreement", "quality"]
    results = Results(path)
    full = record_suite(results, opened, [DATA, scored], teacher=opened[0], full=True)
    assert [found["kind"] for found in full[:8]] == ["quality", *MEASURES, "quality"]
    assert len(results.records) == 5 + 2 * len(MEASURES)
    lines = path.read_text().splitlines()
    record_suite(Results(path), opened, [DATA, scored], teacher=opened[0], full=True)
    assert path.read_text().splitlines() == lines
    batches = next(found["values"] for found in full if found["kind"] == "batches")
    assert min(batches["lowest"].values()) > 0.9999


def test_a_model_that_fails_midway_is_a_row_and_the_others_are_measured(tiny, tmp_path: Path):
    (artifact, good), other = open_all([str(tiny("static")), str(tiny("minilm"))])

    class Fails:
        def encode(self, texts: list[str]) -> np.ndarray:
            raise MemoryError("no room")

    broken: tuple[Artifact, object] = (artifact, Fails())
    results = Results(tmp_path / "results.jsonl")
    found = record_suite(results, [broken, other], [DATA], full=True)  # type: ignore[list-item]
    assert [row["kind"] for row in found[: 1 + len(MEASURES)]] == ["failure"] * (1 + len(MEASURES))
    assert "MemoryError: no room" in found[0]["values"]["error"]
    assert found[-1]["kind"] == "space"
    assert load(tiny("static")).dim == good.dim
    again = record_suite(results, [(artifact, good)], [DATA])
    assert again[0]["kind"] == "quality"


def test_the_teacher_encodes_the_text_once_for_all_students(tiny):
    opened = open_all([f"{name}={tiny('static')}" for name in ("teacher", "one", "two")])

    class Counting(Known):
        count = 0

        def encode(self, texts: list[str]) -> np.ndarray:
            self.count += len(texts)
            return super().encode(texts)

    teacher, *students = [(artifact, Counting()) for artifact, _ in opened]
    artifacts = [dataclasses.replace(artifact, hash=str(n)) for n, (artifact, _) in enumerate((teacher, *students))]
    pairs = list(zip(artifacts, (teacher[1], students[0][1], students[1][1]), strict=True))
    found = record_suite(Results(), pairs, [DATA], teacher=pairs[0])  # type: ignore[arg-type]
    assert [row["kind"] for row in found] == ["quality", "quality", "agreement", "quality", "agreement"]
    assert {encoder.count for _, encoder in pairs} == {4 * COUNT}
