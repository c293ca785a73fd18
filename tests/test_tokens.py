"""Any text becomes ids; batches keep every row and the budget; the token limit is the model's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from compact_labse.errors import UserError
from compact_labse.settings import default_prompt, read_json, token_limit
from compact_labse.tokens import Tokens, batches, check_texts, clean_text, pad
from tests.tiny_models import TEXT, change_json, unigram, wordpiece, write_json

anything = st.text(st.characters(exclude_categories=()))


@given(anything)
def test_clean_text_can_be_encoded_and_leaves_the_rest_alone(text: str):
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert clean_text(cleaned) == cleaned
    kept = [c for c in text if not "\ud800" <= c <= "\udfff" and c != "\0"]
    assert [c for c in cleaned if c in kept and c != "\ufffd"] == [c for c in kept if c != "\ufffd"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\0b", "ab"),
        ("a\ud83db", "a\ufffdb"),
        ("\ude00", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ufeffa", "\ufeffa"),
        ("\ud83d\0\ude00", "😀"),
    ],
)
def test_clean_text_by_example(text: str, expected: str):
    assert clean_text(text) == expected


@given(st.lists(st.integers(0, 60), max_size=80), st.integers(1, 200), st.integers(1, 9))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int, largest: int):
    found = batches(lengths, budget, largest)
    assert sorted(np.concatenate([[], *found]).astype(int).tolist()) == list(range(len(lengths)))
    for rows in found:
        longest = max(lengths[row] for row in rows)
        assert len(rows) <= largest
        assert len(rows) == 1 or len(rows) * longest <= budget
    means = [max(lengths[row] for row in rows) for rows in found]
    assert means == sorted(means, reverse=True)


def test_batches_refuse_an_empty_budget():
    with pytest.raises(UserError, match="at least 1, got 0 and 256"):
        batches([3], 0)


def test_pad_fills_on_the_right():
    ids_BT, mask_BT = pad([[5, 6, 7], [8], []], 1)
    assert ids_BT.tolist() == [[5, 6, 7], [8, 1, 1], [1, 1, 1]]
    assert mask_BT.tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert ids_BT.dtype == mask_BT.dtype == np.int64
    assert pad([], 0)[0].shape == (0, 0)


def test_check_texts_names_what_is_wrong():
    assert check_texts(("a", "b")) == ["a", "b"]
    with pytest.raises(UserError, match=r"got one str: write encode\(\[text\]\)"):
        check_texts("abc")
    with pytest.raises(UserError, match="item 1 is NoneType"):
        check_texts(["a", None])  # type: ignore[list-item]


@pytest.mark.parametrize("make", [wordpiece, unigram])
def test_ids_are_the_same_alone_and_together_and_cut_with_special_tokens(make):
    tokens = Tokens(make(), max_tokens=9)
    together = tokens.ids(TEXT)
    assert together == [tokens.ids([text])[0] for text in TEXT]
    ends = {tuple(row[:1] + row[-1:]) for row in together}
    assert len(ends) == 1
    assert max(map(len, together)) == 9
    assert tokens.vocab_size > max(max(row) for row in together)


def test_padding_in_the_file_is_not_applied_but_remembered():
    tokenizer = wordpiece()
    tokenizer.enable_padding(pad_id=4, length=50)
    tokens = Tokens(tokenizer)
    assert tokens.pad_id == 4
    assert len(tokens.ids(["a"])[0]) < 50


def test_truncation_in_the_file_holds_only_without_a_limit_of_the_caller(tmp_path: Path):
    tokenizer = unigram()
    tokenizer.enable_truncation(5, direction="left")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    full = Tokens(unigram(), special=False).ids(TEXT[:1])[0]
    assert Tokens.from_folder(tmp_path, special=False).ids(TEXT[:1])[0] == full[-5:]
    assert Tokens.from_folder(tmp_path, special=False).max_tokens == 5
    assert Tokens.from_folder(tmp_path, 8, special=False).ids(TEXT[:1])[0] == full[-8:]


@pytest.mark.parametrize(("make", "pad_id", "unk_id"), [(wordpiece, 0, 1), (unigram, 1, 3)])
def test_pad_and_unknown_ids(make, pad_id: int, unk_id: int):
    tokens = Tokens(make())
    assert (tokens.pad_id, tokens.unk_id) == (pad_id, unk_id)


def test_unknown_id_of_a_unigram_with_an_unusual_name():
    tokenizer = Tokenizer(models.Unigram([("a", -1.0), ("?", 0.0)], unk_id=1))
    tokens = Tokens(tokenizer)
    assert (tokens.unk_id, tokens.pad_id) == (1, 0)
    assert Tokens(Tokenizer(models.Unigram([("a", -1.0)]))).unk_id is None


def test_a_limit_without_room_for_text_is_refused():
    with pytest.raises(UserError, match="max_tokens is 2, but 2 special tokens"):
        Tokens(wordpiece(), max_tokens=2)


def test_vocab_txt_alone_is_a_word_piece(tmp_path: Path):
    vocabulary = wordpiece().get_vocab()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    write_json(tmp_path / "tokenizer_config.json", {"do_lower_case": False})
    assert Tokens.from_folder(tmp_path).ids(TEXT) == Tokens(wordpiece()).ids(TEXT)
    write_json(tmp_path / "tokenizer_config.json", {})
    assert Tokens.from_folder(tmp_path).ids(["THE"]) == Tokens(wordpiece()).ids(["the"])


def test_lower_casing_asked_for_by_the_folder(tmp_path: Path):
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    write_json(tmp_path / "sentence_bert_config.json", {"do_lower_case": True})
    assert Tokens.from_folder(tmp_path).ids(["THE Train"]) == Tokens(wordpiece()).ids(["the train"])


def test_tokenizer_that_is_missing_or_damaged(tmp_path: Path):
    with pytest.raises(UserError, match=r"No tokenizer in .*: neither tokenizer.json nor vocab.txt"):
        Tokens.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0", "model"')
    with pytest.raises(UserError, match=r"tokenizer.json is not a readable tokenizer"):
        Tokens.from_folder(tmp_path)


def test_default_prompt_goes_before_every_text(tmp_path: Path):
    wordpiece().save(str(tmp_path / "tokenizer.json"))
    config = tmp_path / "config_sentence_transformers.json"
    write_json(config, {"prompts": {"query": "", "passage": "The "}, "default_prompt_name": "passage"})
    assert Tokens.from_folder(tmp_path).ids(["train"]) == Tokens(wordpiece()).ids(["The train"])
    change_json(config, default_prompt_name="clustering")
    with pytest.raises(
        UserError, match=r"default_prompt_name is 'clustering', but prompts has only \['passage', 'query'\]"
    ):
        default_prompt(tmp_path)


@pytest.mark.parametrize(
    ("config", "text_config", "tokenizer_config", "expected"),
    [
        (
            {"model_type": "bert", "max_position_embeddings": 512},
            {"max_seq_length": 256},
            {"model_max_length": 128},
            256,
        ),
        ({"model_type": "bert", "max_position_embeddings": 512}, {}, {"model_max_length": 128}, 128),
        ({"model_type": "bert", "max_position_embeddings": 512}, {}, {"model_max_length": 1e30}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, {}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, {"max_seq_length": 514}, {}, 512),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, {}, {}, None),
        ({"model_type": "t5"}, {"max_seq_length": None}, {}, None),
    ],
)
def test_token_limit(tmp_path: Path, config, text_config, tokenizer_config, expected):
    for name, content in (
        ("config.json", config),
        ("sentence_bert_config.json", text_config),
        ("tokenizer_config.json", tokenizer_config),
    ):
        write_json(tmp_path / name, content)
    assert token_limit(tmp_path) == expected


def test_json_files_that_cannot_be_used(tmp_path: Path):
    file = tmp_path / "config.json"
    assert read_json(file) == {}
    with pytest.raises(UserError, match=r"config.json is missing: is .* a whole model folder"):
        read_json(file, required=True)
    file.write_text("[1]")
    with pytest.raises(UserError, match=r"config.json must hold a JSON object, got a list"):
        read_json(file)
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match=r"config.json is not readable as JSON"):
        read_json(file)


@settings(max_examples=60, deadline=None)
@given(st.lists(anything, min_size=2, max_size=5))
def test_any_text_has_ids(texts: list[str]):
    for make in (_WORDPIECE, _UNIGRAM):
        assert [row[0] for row in make.ids(texts)] == [make.ids([""])[0][0]] * len(texts)


_WORDPIECE, _UNIGRAM = Tokens(wordpiece(), max_tokens=16), Tokens(unigram(), max_tokens=16)


def test_importing_encoders_imports_no_heavy_library():
    code = (
        "import sys, compact_labse.encoder, compact_labse.tokens, compact_labse.locate;"
        "heavy = {'torch', 'transformers', 'onnx', 'onnxruntime', 'tensorflow', 'sentence_transformers'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
