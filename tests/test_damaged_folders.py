"""Every damaged, foreign or unsupported model folder is refused in one sentence that names the file and the values."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from compact_labse.encoder import load
from compact_labse.errors import UserError
from tests.tiny_models import HIDDEN, TEXT, change_json, write_json, write_modules

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
from safetensors.torch import load_file, save_file  # noqa: E402

Make = Callable[[str], Path]
WEIGHTS = "model.safetensors"
MODELS = "sentence_transformers.models."


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def without(file: Path, name: str) -> None:
    save_file({key: part for key, part in load_file(file).items() if key != name}, file, metadata={"format": "pt"})


def as_pickle(file: Path) -> None:
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()


WEIGHT_DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("labse", lambda f: (f / WEIGHTS).unlink(), r"labse has no weights: model.safetensors is missing"),
    ("labse", lambda f: as_pickle(f / WEIGHTS), r"only as a pickle \(pytorch_model.bin\).*convert it to safetensors"),
    ("static", lambda f: as_pickle(f / WEIGHTS), r"static has its weights only as a pickle"),
    ("labse", lambda f: as_pickle(f / "2_Dense" / WEIGHTS), r"2_Dense has its weights only as a pickle"),
    ("labse", lambda f: cut(f / WEIGHTS, 5000), r"model.safetensors \(5,000 bytes\) is not a whole safetensors file"),
    ("labse", lambda f: cut(f / WEIGHTS, 0), r"\(0 bytes\) is not a whole safetensors file"),
    ("labse", lambda f: cut(f / "2_Dense" / WEIGHTS, 200), r"2_Dense/model.safetensors \(200 bytes\) is not a whole"),
    (
        "static",
        lambda f: (f / WEIGHTS).write_bytes(struct.pack("<Q", 8) + b"nonsense"),
        r"static/model.safetensors \(16 bytes\) is not a whole safetensors file",
    ),
    (
        "labse",
        lambda f: without(f / WEIGHTS, "encoder.layer.1.output.dense.weight"),
        r"model.safetensors lacks 1 of the tensors .* 'encoder.layer.1.output.dense.weight'",
    ),
    (
        "labse",
        lambda f: without(f / "2_Dense" / WEIGHTS, "linear.bias"),
        r"2_Dense/model.safetensors lacks 1 .*'linear.bias'",
    ),
    (
        "labse",
        lambda f: change_json(f / "2_Dense" / "config.json", bias=False),
        r"holds the tensor 'linear.bias', which a Dense does not have",
    ),
    (
        "labse",
        lambda f: change_json(f / "config.json", intermediate_size=40),
        r"model.safetensors: the tensor 'encoder.layer.0.intermediate.dense.bias' is \[32\], .* asks for \[40\]",
    ),
    (
        "labse",
        lambda f: change_json(f / "config.json", hidden_size=32),
        r"model.safetensors: the tensor .* is \[16\], but the config asks for \[32\]",
    ),
    (
        "labse",
        lambda f: change_json(f / "2_Dense" / "config.json", out_features=13),
        r"2_Dense/model.safetensors: the tensor 'linear.\w+' is \[12.*but the config asks for \[13",
    ),
    (
        "static",
        lambda f: save_file({"x": torch.zeros(1)}, f / WEIGHTS),
        r"lacks the tensor 'embedding.weight'; it holds x",
    ),
    (
        "static",
        lambda f: save_file({"embedding.weight": torch.zeros(5)}, f / WEIGHTS),
        r"must be \[vocabulary, dimension\], got \[5\]",
    ),
]


@pytest.mark.parametrize(("name", "damage", "message"), WEIGHT_DAMAGE)
def test_weights_that_cannot_be_used(name: str, damage: Callable[[Path], object], message: str, tiny_copy: Make):
    _refused(tiny_copy(name), damage, message)


CONFIG_DAMAGE: list[tuple[str, dict[str, object], str]] = [
    (
        "1_Pooling",
        {"word_embedding_dimension": 768},
        r"pools vectors of dimension 768, but the model before it gives 16",
    ),
    ("1_Pooling", {"pooling_mode": "attention"}, r"unknown pooling 'attention', expected one of cls, max, mean"),
    ("1_Pooling", {"pooling_mode_attention": True}, r"unknown pooling 'pooling_mode_attention', expected one of"),
    ("2_Dense", {"in_features": 768}, r"in_features is 768, but the module before it gives 16"),
    ("2_Dense", {"out_features": None}, r"out_features must be a number, got None"),
    ("2_Dense", {"activation_function": "my.Swish"}, r"unknown activation_function 'my.Swish', .* torch.nn's Tanh"),
    ("2_Dense", {"activation_function": "torch.hub.load"}, r"unknown activation_function 'torch.hub.load'"),
    ("2_Dense", {"module_output_name": "extra"}, r"reads 'sentence_embedding' and writes 'extra'; expected"),
]


@pytest.mark.parametrize(("module", "changes", "message"), CONFIG_DAMAGE)
def test_heads_that_do_not_fit(module: str, changes: dict[str, object], message: str, tiny_copy: Make):
    _refused(
        tiny_copy("labse"),
        lambda f: change_json(f / module / "config.json", **changes),
        f"{module}/config.json: {message}",
    )


def test_a_pooling_without_settings(tiny_copy: Make):
    message = r"1_Pooling/config.json is missing: is .*1_Pooling a whole model folder"
    _refused(tiny_copy("minilm"), lambda f: (f / "1_Pooling" / "config.json").unlink(), message)


@pytest.mark.parametrize("name", ["minilm", "labse", "xlmr"])
def test_a_folder_without_its_tokenizer(name: str, tiny_copy: Make):
    # transformers 5 makes up an empty tokenizer, with which every word is unknown and every gate passes
    def lose_it(folder: Path) -> None:
        for file in ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model"):
            (folder / file).unlink(missing_ok=True)

    _refused(tiny_copy(name), lose_it, "has no tokenizer that can be read: tokenizer.json is missing")


def test_layer_norm_of_another_dimension(tiny_copy: Make):
    def damage(folder: Path) -> None:
        write_modules(folder, "Transformer", "Pooling", "LayerNorm")
        write_json(folder / "2_LayerNorm" / "config.json", {"dimension": 5})

    message = r"2_LayerNorm/config.json: dimension is 5, but the module before it gives 16"
    _refused(tiny_copy("minilm"), damage, message)


def test_a_prompt_that_should_be_left_out(tiny_copy: Make):
    def damage(folder: Path) -> None:
        prompts = {"prompts": {"p": "x: "}, "default_prompt_name": "p"}
        write_json(folder / "config_sentence_transformers.json", prompts)
        change_json(folder / "1_Pooling" / "config.json", include_prompt=False)

    _refused(tiny_copy("minilm"), damage, r"include_prompt is false, and leaving the prompt 'x: ' out is not supported")


MODULE_DAMAGE: list[tuple[list[str], str]] = [
    (["Transformer"], r"no Pooling follows the Transformer"),
    (["Transformer", "Pooling", "WordWeights"], r"unknown module 'WordWeights', expected one of Pooling, Dense"),
    (["Transformer", "Normalize", "Pooling"], r"1_Normalize \(Normalize\) stands before the pooling"),
    (["Transformer", "Pooling", "Pooling"], r"2_Pooling \(Pooling\) stands after the pooling, where it cannot work"),
    (["BoW", "Normalize"], r"starts with 'BoW', expected one of Transformer, StaticEmbedding"),
    ([], r"names no module"),
]


@pytest.mark.parametrize(("kinds", "message"), MODULE_DAMAGE)
def test_modules_that_do_not_fit(kinds: list[str], message: str, tiny_copy: Make):
    _refused(tiny_copy("minilm"), lambda f: write_modules(f, *kinds), f"modules.json:? {message}")


def test_a_dense_on_tokens_after_the_pooling(tiny_copy: Make):
    message = r"modules.json: 2_Dense \(Dense\) stands after the pooling, where it cannot work"
    change = {"module_input_name": "token_embeddings"}
    _refused(tiny_copy("labse"), lambda f: change_json(f / "2_Dense" / "config.json", **change), message)


MODULES_EDITS = [
    (
        MODELS + "Pooling",
        "custom_pooling.Pooling",
        r"'custom_pooling.Pooling' is code of the model's own, which is never",
    ),
    ('"1_Pooling"', '"../1_Pooling"', r"the path '../1_Pooling' leads out of the folder"),
    ('"1_Pooling"', '"/1_Pooling"', r"the path '/1_Pooling' leads out of the folder"),
    ('"path"', '"place"', r"is not a list of modules with 'type' and 'path'"),
    ("[", "", r"is not a list of modules with 'type' and 'path'"),
]


@pytest.mark.parametrize(("old", "new", "message"), MODULES_EDITS)
def test_a_list_of_modules_that_cannot_be_followed(old: str, new: str, message: str, tiny_copy: Make):
    def damage(folder: Path) -> None:
        file = folder / "modules.json"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    _refused(tiny_copy("minilm"), damage, f"modules.json:? {message}")


def test_code_of_a_models_own_is_not_run(tiny_copy: Make):
    def damage(folder: Path) -> None:
        own = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
        change_json(folder / "config.json", model_type="mine", auto_map=own)
        (folder / "mine.py").write_text("raise SystemExit('this ran')")

    _refused(tiny_copy("minilm"), damage, r"minilm needs code of its own \('mine'\), which is never run here")


TRANSFORMER_DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "config.json").unlink(), r"minilm/config.json is missing"),
    (lambda f: (f / "config.json").write_text("{"), r"minilm/config.json is not readable as JSON"),
    (lambda f: change_json(f / "config.json", model_type=None), r"config.json names no model_type"),
    (lambda f: change_json(f / "config.json", model_type="mine"), r"the architecture 'mine' cannot be built"),
    (lambda f: change_json(f / "config.json", num_attention_heads=3), r"the architecture 'bert' cannot be built: .*16"),
    (lambda f: write_json(f / "adapter_config.json", {}), r"is an adapter on top of another model: merge it"),
    (
        lambda f: change_json(f / "sentence_bert_config.json", transformer_task="fill-mask"),
        r"sentence-transformers runs this model for 'fill-mask'",
    ),
    (
        lambda f: change_json(f / "sentence_bert_config.json", processing_kwargs={"text": {"max_length": 9}}),
        r"the processing_kwargs .*'max_length': 9.* are not supported",
    ),
    (lambda f: (f / "tokenizer.json").unlink(), r"minilm has no tokenizer that can be read: tokenizer.json is missing"),
    (lambda f: (f / "tokenizer.json").write_text("{}"), r"tokenizer.json is not a readable tokenizer"),
]


@pytest.mark.parametrize(("damage", "message"), TRANSFORMER_DAMAGE)
def test_transformers_that_cannot_be_built(damage: Callable[[Path], object], message: str, tiny_copy: Make):
    _refused(tiny_copy("minilm"), damage, message)


def test_pooling_named_against_the_folder(tiny: Make):
    assert load(tiny("minilm"), pooling="mean").dim == HIDDEN
    with pytest.raises(UserError, match=r"modules.json says pooling mean, not 'cls'"):
        load(tiny("minilm"), pooling="cls")


def test_a_tokenizer_of_another_model(tiny_copy: Make):
    folder = tiny_copy("static")
    save_file({"embedding.weight": torch.randn(40, HIDDEN)}, folder / WEIGHTS)
    with pytest.raises(UserError, match=r"the tokenizer gives id \d+, but the embedding table has 40 rows"):
        load(folder).encode(TEXT)


def test_the_undamaged_folders_load(tiny: Make):
    assert json.loads((tiny("labse") / "modules.json").read_text())[2]["type"] == MODELS + "Dense"
    for name in ("labse", "minilm", "static"):
        load(tiny(name))


def _refused(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        load(folder)
