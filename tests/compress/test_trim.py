"""Trimming folders of tiny models: vectors stay to the bit, files agree with one another, mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from compact_labse import sample
from compact_labse.compress.trim import Trim, trim
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.tokens import Tokens
from tests.tiny_models import TEXT, change_json, write_json

ENGLISH = [TEXT[0], TEXT[1], TEXT[13]]
EVERY = ["labse", "electra", "distilbert", "xlmr", "mpnet", "static"]


def corpus(folder: Path, texts: list[str]) -> str:
    path = folder / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", EVERY)
def test_trimming_nothing_changes_nothing(tiny, tmp_path, name):
    words = sorted({word for text in TEXT for word in text.split() if word.isalpha()})
    everything = [*TEXT, *(word + end for word in words for end in ("", "s", "ing", "er")), " ".join(words)]
    done = trim(Trim(model=str(tiny(name)), out=tmp_path / "new", corpus=(corpus(tmp_path, everything),)))
    assert done.pieces_after == done.pieces_before
    assert np.array_equal(load(str(tiny(name))).encode(TEXT), load(str(tmp_path / "new")).encode(TEXT))


@pytest.mark.parametrize("name", EVERY)
def test_text_without_a_dropped_piece_keeps_its_vector_to_the_bit(tiny, tmp_path, name):
    done = trim(Trim(model=str(tiny(name)), out=tmp_path / "new", corpus=(corpus(tmp_path, ENGLISH),)))
    assert done.pieces_after < done.pieces_before
    assert done.bytes_after < done.bytes_before
    before, after = load(str(tiny(name))), load(str(tmp_path / "new"))
    assert np.array_equal(before.encode(ENGLISH), after.encode(ENGLISH))
    assert after.module.body.rows == done.pieces_after
    # what no text used is cut finer, never unknown
    assert not np.array_equal(before.encode([TEXT[2]]), after.encode([TEXT[2]]))
    known = [number for ids in after.tokens.ids(TEXT) for number in ids]
    assert after.tokens.unk_id not in known


def test_every_row_belongs_to_its_piece(tiny, tmp_path):
    trim(Trim(model=str(tiny("minilm")), out=tmp_path / "new", corpus=(corpus(tmp_path, ENGLISH),)))
    before, after = (load_file(place / "model.safetensors") for place in (tiny("minilm"), tmp_path / "new"))
    old, new = (Tokens.from_folder(place).tokenizer for place in (tiny("minilm"), tmp_path / "new"))
    name = "embeddings.word_embeddings.weight"
    rows = [old.token_to_id(new.id_to_token(number)) for number in range(new.get_vocab_size())]
    assert torch.equal(after[name], before[name][rows])
    assert all(torch.equal(after[key], value) for key, value in before.items() if key != name)


def test_ids_in_all_files_follow(tiny_copy, tmp_path):
    """The mask token stands at the end, as XLM-R has it, and every file names its id."""
    folder = tiny_copy("xlmr")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens(["<last>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    last = tokenizer.token_to_id("<last>")
    weights = load_file(folder / "model.safetensors")
    table = weights["embeddings.word_embeddings.weight"]
    weights["embeddings.word_embeddings.weight"] = torch.cat([table, torch.ones(1, table.shape[1])])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", mask_token_id=last, vocab_size=last + 1, eos_token_id=[2, last])
    change_json(folder / "tokenizer_config.json", added_tokens_decoder={str(last): {"content": "<last>"}})
    write_json(folder / "added_tokens.json", {"<last>": last})
    (folder / "sentencepiece.bpe.model").write_bytes(b"old pieces")
    done = trim(Trim(model=str(folder), out=tmp_path / "new", corpus=(corpus(tmp_path, ENGLISH),)))
    new = done.pieces_after - 1
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["mask_token_id"], config["vocab_size"], config["eos_token_id"]) == (new, new + 1, [2, new])
    assert (config["pad_token_id"], config["bos_token_id"]) == (1, 0)
    settings = json.loads((tmp_path / "new" / "tokenizer_config.json").read_text())
    assert settings["added_tokens_decoder"] == {str(new): {"content": "<last>"}}
    assert json.loads((tmp_path / "new" / "added_tokens.json").read_text()) == {"<last>": new}
    assert not (tmp_path / "new" / "sentencepiece.bpe.model").exists()
    assert Tokens.from_folder(tmp_path / "new").ids(["<last>"]) == [[0, new, 2]]


def test_a_language_models_head_and_shards_follow(tiny_copy, tmp_path):
    folder = tiny_copy("minilm")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    table = weights["embeddings.word_embeddings.weight"]
    head = {"cls.predictions.decoder.weight": table.clone(), "cls.predictions.bias": torch.randn(len(table))}
    save_file(weights, folder / "a.safetensors", metadata={"format": "pt"})
    save_file(head, folder / "b.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(weights, "a.safetensors") | dict.fromkeys(head, "b.safetensors")
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    done = trim(Trim(model=str(folder), out=tmp_path / "new", corpus=(corpus(tmp_path, ENGLISH),)))
    after = load_file(tmp_path / "new" / "a.safetensors") | load_file(tmp_path / "new" / "b.safetensors")
    assert torch.equal(after["cls.predictions.decoder.weight"], after["embeddings.word_embeddings.weight"])
    assert len(after["cls.predictions.bias"]) == done.pieces_after
    assert np.array_equal(load(str(folder)).encode(ENGLISH), load(str(tmp_path / "new")).encode(ENGLISH))


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [text for language in ("en", "de", "th", "ru") for text in sample.sentences(language)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2500, initial_alphabet=alphabet, special_tokens=["<s>", "<pad>", "</s>"])
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def test_a_bpe_keeps_the_pieces_on_the_way_to_a_piece(tiny_copy, tmp_path):
    folder, tokenizer = tiny_copy("static"), byte_level()
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads(tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", model["vocab"])
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    table = torch.randn(tokenizer.get_vocab_size(), 16)
    save_file({"embedding.weight": table}, folder / "model.safetensors")
    german = sample.sentences("de")
    done = trim(Trim(model=str(folder), out=tmp_path / "new", corpus=(corpus(tmp_path, german),)))
    assert 256 < done.pieces_after < 0.8 * done.pieces_before
    after = Tokens.from_folder(tmp_path / "new", special=False).tokenizer
    assert [e.tokens for e in after.encode_batch(german)] == [e.tokens for e in tokenizer.encode_batch(german)]
    assert np.array_equal(load(str(folder)).encode(german), load(str(tmp_path / "new")).encode(german))
    thai = sample.sentences("th")[0]
    assert after.decode(after.encode(thai).ids) == thai  # by its bytes
    assert json.loads((tmp_path / "new" / "vocab.json").read_text()) == after.get_vocab()
    merges = (tmp_path / "new" / "merges.txt").read_text().splitlines()
    assert len(merges) == 1 + len(json.loads(after.to_str())["model"]["merges"]) > 100


def test_a_limit_takes_the_most_used_first(tiny, tmp_path):
    file = corpus(tmp_path, [TEXT[0]] * 9 + [TEXT[1]])
    free = trim(Trim(model=str(tiny("minilm")), out=tmp_path / "free", corpus=(file,)))
    limit = free.pieces_after - 3
    done = trim(Trim(model=str(tiny("minilm")), out=tmp_path / "few", corpus=(file,), max_tokens=limit))
    assert done.pieces_after == limit
    kept = Tokens.from_folder(tmp_path / "few").tokenizer
    assert all(kept.token_to_id(word) is not None for word in ("train", "coast", "leaves"))
    assert 0 < done.languages["und"].changed < 0.1
    assert free.languages["und"].changed == 0


def test_a_language_with_the_sample_alone_keeps_its_letters(tiny, tmp_path):
    done = trim(Trim(model=str(tiny("minilm")), out=tmp_path / "new", languages=("fr",)))
    kept = Tokens.from_folder(tmp_path / "new").tokenizer
    assert kept.token_to_id("musée") is not None
    assert kept.token_to_id("театра") is None
    assert done.reasons["letters"] > 10


def test_pairs_tell_their_languages(tiny, tmp_path):
    (tmp_path / "en-el.tsv").write_text(f"{TEXT[0]}\t{TEXT[5]}\n" * 20, encoding="utf-8")
    done = trim(Trim(model=str(tiny("xlmr")), out=tmp_path / "new", corpus=(str(tmp_path / "en-el.tsv"),)))
    assert {code: cut.texts for code, cut in done.languages.items()} == {"en": 20, "el": 20}
    done = trim(
        Trim(model=str(tiny("xlmr")), out=tmp_path / "el", corpus=(str(tmp_path / "en-el.tsv"),), languages=("el",))
    )
    assert {code: cut.texts for code, cut in done.languages.items()} == {"el": 260}  # with the sample's 240


def test_new_text_is_estimated_from_pieces_seen_once(tiny, tmp_path):
    texts = [TEXT[0]] * 10 + [TEXT[1]] + [TEXT[0]] * 9  # every tenth text is counted as new: the first and TEXT[1]
    done = trim(Trim(model=str(tiny("minilm")), out=tmp_path / "new", corpus=(corpus(tmp_path, texts),)))
    old = Tokens.from_folder(tiny("minilm"), special=False)
    first, second = old.ids([TEXT[0], TEXT[1]])
    # single characters stay whatever is counted
    once = [n for n in second if n not in first and len(old.tokenizer.id_to_token(n).removeprefix("##")) > 1]
    assert done.languages["und"].new_text == pytest.approx(len(once) / (len(first) + len(second)))
    assert done.languages["und"].new_text > 0.1


def _wordlevel(folder: Path) -> None:
    Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))


def _strange(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    rows = len(weights["embeddings.word_embeddings.weight"])
    save_file(weights | {"adapter.up": torch.zeros(4, rows)}, folder / "model.safetensors", metadata={"format": "pt"})


def _short(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:-1].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "options", "words"),
    [
        (None, {"languages": ("xx",)}, "no text in xx: the embedded sample has en, ar"),
        (None, {"languages": ("en",), "max_tokens": 9}, "--max-tokens is 9, but special tokens and single characters"),
        (None, {"languages": ("ko",)}, "this vocabulary does not know ko: [0-9]+% of the tokens"),
        (None, {"corpus": ("BLANK",)}, "no usable line"),
        (None, {"corpus": ("CHINESE",)}, "this vocabulary does not know und"),
        (None, {}, "give --languages de,th, --corpus FILES, or both"),
        (_wordlevel, {"languages": ("en",)}, "a tokenizer of kind 'WordLevel'; those of kind WordPiece, Unigram, BPE"),
        (_strange, {"languages": ("en",)}, "'adapter.up' is as long as the vocabulary"),
        (_short, {"languages": ("en",)}, "the tokenizer has [0-9]+ pieces, but the table only [0-9]+ rows"),
        (lambda f: (f / "model.safetensors").write_bytes(b"123"), {"languages": ("en",)}, "not a whole safetensors"),
        (lambda f: (f / "tokenizer.json").unlink(), {"languages": ("en",)}, "has no tokenizer.json"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(tiny_copy, tmp_path, damage, options, words):
    folder = tiny_copy("minilm")
    if damage:
        damage(folder)
    texts = {"BLANK": ["", " "], "CHINESE": ["魑魅魍魎" * 9]}
    files = tuple(corpus(tmp_path, texts[name]) for name in options.get("corpus", ()))
    with pytest.raises(UserError, match=words):
        trim(Trim(model=str(folder), out=tmp_path / "new", **{**options, "corpus": files}))
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".", "new"))) == []
