"""An exported folder has the settings files that other people's loaders ask for."""

import json

import pytest
from tokenizers import Tokenizer

from compact_labse import load
from compact_labse.formats.export_folder import export_folder
from compact_labse.formats.peer_files import write_peer_files

TEXTS = ["The train leaves at nine.", "明天会下雨", "Ёлка!"]


@pytest.fixture
def exported(tiny, tmp_path):
    def make(name):
        source = load(tiny(name))
        with export_folder(source, tmp_path / name, "onnx") as folder:
            (folder / "model.onnx").write_bytes(b"")
        return source, tmp_path / name

    return make


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_bag_of_tokens_gets_the_files_that_loaders_insist_on(exported):
    source, folder = exported("static")
    config, settings = read(folder / "config.json"), read(folder / "tokenizer_config.json")
    assert config["model_type"] == "bert" and config["hidden_size"] == source.dim
    assert config["pad_token_id"] == source.tokens.pad_id and config["max_position_embeddings"] > 0
    assert 0 < settings["model_max_length"] < 2**31
    assert settings["pad_token"] == read(folder / "special_tokens_map.json")["pad_token"]


def test_whoever_adds_special_tokens_by_default_gets_the_ids_that_the_model_counts_on(exported, tiny):
    source, folder = exported("static")
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [plain.encode(text).ids for text in TEXTS] == source.tokenize(TEXTS)
    template = Tokenizer.from_file(str(tiny("static") / "tokenizer.json"))
    assert [template.encode(text).ids for text in TEXTS] != source.tokenize(TEXTS)  # else this test shows nothing


@pytest.mark.parametrize("name", ["minilm", "xlmr"])
def test_a_transformers_files_stay_but_for_the_limit(exported, tiny, name):
    source, folder = exported(name)
    assert read(folder / "config.json") == read(tiny(name) / "config.json")
    assert read(folder / "tokenizer_config.json")["model_max_length"] == source.max_tokens
    assert read(folder / "tokenizer.json") == read(tiny(name) / "tokenizer.json")


@pytest.mark.parametrize("limit", [7, None])
def test_the_tokenizer_cuts_where_the_model_cuts_and_pads_no_further_than_needed(tiny_copy, limit):
    source, folder = load(tiny_copy("minilm")), tiny_copy("static")
    source.max_tokens = limit
    tokenizer = Tokenizer.from_file(str(source.source / "tokenizer.json"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=128, pad_id=source.tokens.pad_id)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_peer_files(folder, source)
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    length = len(found.encode("one two three four five six seven eight").ids)
    assert length == limit if limit else length > 7
    assert len(found.encode("one").ids) < 128
    assert (found.truncation or {}).get("max_length") == limit
    assert found.padding["pad_id"] == source.tokens.pad_id


def test_other_settings_of_the_tokenizer_are_kept(tiny_copy):
    folder = tiny_copy("minilm")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 512}')
    write_peer_files(folder, source := load(tiny_copy("static").rename(folder.parent / "other")))
    assert source.max_tokens is None
    assert read(folder / "tokenizer_config.json") == {"tokenizer_class": "BertTokenizer", "model_max_length": 1_000_000}
