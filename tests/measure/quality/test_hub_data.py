"""Data read through `datasets`, on folders; the hub itself is out of reach here, which must be one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("datasets", reason="needs the extra 'train'")

from compact_labse.errors import UserError
from compact_labse.measure.quality.datasets import Parallel, Similarity, find
from compact_labse.measure.quality.hub_data import parse


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def folder(path: Path, rows: list[dict[str, object]], split: str = "test") -> Path:
    path.mkdir(exist_ok=True)
    (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_translations_with_a_language_column(tmp_path: Path):
    rows = [
        {"sentence1": "Hallo", "sentence2": "hello", "lang": "deu-eng"},
        {"sentence1": "bye", "sentence2": "au revoir", "lang": "eng-fra"},
        {"sentence1": "Tee", "sentence2": "tea", "lang": "deu-eng"},
    ]
    (found,) = find(Path(f"hf:{folder(tmp_path / 'bitext', rows)}"))
    assert found == Parallel(
        name="bitext", pairs={"deu": (["Hallo", "Tee"], ["hello", "tea"]), "fra": (["au revoir"], ["bye"])}
    )


@pytest.mark.parametrize(
    "row", [{"de": "Tee", "en": "tea", "id": "7"}, {"translation": {"en": "tea", "de": "Tee"}, "id": "7"}]
)
def test_translations_by_language_names(tmp_path: Path, row: dict[str, object]):
    (found,) = find(Path(f"hf:{folder(tmp_path / 'opus', [row])}"))
    assert found.pairs == {"de": (["Tee"], ["tea"])}


def test_scored_pairs(tmp_path: Path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 3, "lang": "de"}] * 2
    (found,) = find(Path(f"hf:{folder(tmp_path / 'stsb', rows)}"))
    assert found == Similarity(name="stsb", pairs={"de": (["a", "a"], ["b", "b"], [3.0, 3.0])})


def test_the_test_split_is_preferred_and_another_can_be_named(tmp_path: Path):
    place = folder(tmp_path / "two", [{"de": "Zug", "en": "train"}], "train")
    folder(place, [{"de": "Prüfung", "en": "test"}], "test")
    assert find(Path(f"hf:{place}"))[0].pairs == {"de": (["Prüfung"], ["test"])}
    assert find(Path(f"hf:{place}:train"))[0].pairs == {"de": (["Zug"], ["train"])}
    with pytest.raises(UserError, match="has no split 'dev', it has"):
        find(Path(f"hf:{place}:dev"))


def test_names_have_configurations_and_splits():
    assert parse("hf:a/b:de-en") == ("a/b", "de-en", None)
    assert parse("hf:a/b:de-en:train") == ("a/b", "de-en", "train")
    assert parse("hf:a/b:dev") == ("a/b", None, "dev")
    with pytest.raises(UserError, match="not of the form"):
        parse("hf:a:b:c:d")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"text": "x", "label": 1}, "expected the columns sentence1, sentence2 .and score., .* got text, label"),
        ({"sentence1": "x", "sentence2": "y"}, "cannot tell which side is English from the language ''"),
        ({"sentence1": "x", "sentence2": "y", "lang": "de-fr"}, "cannot tell .* 'de-fr'"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, row: dict[str, object], complaint: str):
    with pytest.raises(UserError, match=complaint):
        find(Path(f"hf:{folder(tmp_path / 'odd', [row])}"))


def test_what_cannot_be_reached_is_one_sentence():
    with pytest.raises(UserError, match="cannot load the Hugging Face dataset 'nobody/nothing-here': .*--data") as info:
        find(Path("hf:nobody/nothing-here"))
    assert "\n" not in str(info.value)
