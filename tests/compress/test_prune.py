"""Pruning tiny models of every family: stock models come out, choices are right, healing mends."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="tiny models need the extra 'train'")

import torch
from safetensors.torch import load_file, save_file

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.compress import calibration, importance, layers, structure
from compact_labse.compress.architecture import Body
from compact_labse.compress.structure import Prune, prune
from compact_labse.compress.trim import Trim, trim
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.students.retrained import write_pooled
from compact_labse.torch_encoder import TorchEncoder

FAMILIES = ["labse", "minilm", "electra", "distilbert", "xlmr", "mpnet"]
NAMES = {"distilbert": ("n_layers", "n_heads", "hidden_dim", "dim")}
STOCK = ("num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_size")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("text") / "texts.txt"
    path.write_text("\n".join(sample.sentences("en")[:40]), encoding="utf-8")
    return str(path)


def cfg(model, out, text, **sizes) -> Prune:
    return Prune(model=str(model), out=out, data=(text,), texts=16, **sizes)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gets_smaller_and_stays_stock(tiny, tmp_path, text, name):
    heads = 2 if name == "electra" else 1  # a stock ELECTRA as wide as its table has no projection
    done = prune(cfg(tiny(name), tmp_path / "new", text, layers=1, heads=heads, ffn=12))
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert [config[key] for key in NAMES.get(name, STOCK)] == [1, heads, 12, 8 * heads]
    assert done.parameters_after < 0.8 * done.parameters_before
    assert len(done.layer_damage) == 1
    encoder = load(str(tmp_path / "new"))
    vectors = encoder.encode(["a", "The train leaves."])
    assert vectors.shape == (2, 12 if name in ("labse", "distilbert") else 8 * heads)
    assert np.isfinite(vectors).all()
    assert (tmp_path / "new" / "lineage.json").is_file()


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_that_do_nothing_are_the_ones_that_go(tiny_copy, tmp_path, text, name):
    """Every second column and the second head write nothing: without them the vectors are the same."""
    folder = tiny_copy(name)
    encoder = TorchEncoder.open(folder)
    body = Body(encoder.module.body.transformer, name)
    with torch.no_grad():
        for layer in body.layers:
            layer.part("second").weight[:, ::2] = 0
    weights = load_file(folder / "model.safetensors")
    save_file(
        weights | {k: v.contiguous() for k, v in body.transformer.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    done = prune(cfg(folder, tmp_path / "new", text, ffn=16))
    assert done.damage < 1e-4
    texts = sample.sentences("de")[:8]
    assert (
        np.einsum("nd,nd->n", load(str(folder)).encode(texts), load(str(tmp_path / "new")).encode(texts)).min() > 0.999
    )


def test_importance_is_the_change_by_a_gate(tiny, text):
    """Against the slow obvious way: scale one column by 1 + e and see how far the vectors move."""
    encoder = TorchEncoder.open(tiny("minilm"))
    body = Body(encoder.module.body.transformer, "tiny")
    feeds = list(calibration.feeds(encoder.tokens, calibration.some_texts((text,), 16)))
    found = sum(importance.measure(encoder.module, body, feeds, seed=k).importance["0.second"] for k in range(60))
    before = calibration.vectors(encoder.module, feeds, 16)
    second, moved = body.layers[0].part("second"), []
    for column in range(body.size("ffn")):
        with torch.no_grad():
            kept = second.weight[:, column].clone()
            second.weight[:, column] *= 1.01
            moved.append(float(np.square(calibration.vectors(encoder.module, feeds, 16) - before).sum()))
            second.weight[:, column] = kept
    moved = np.array(moved)
    assert moved.max() > 0
    assert np.corrcoef(found.numpy(), moved)[0, 1] > 0.9


def test_stand_ins_are_exact_where_inputs_repeat_others():
    torch.manual_seed(0)
    free_RK = torch.randn(200, 4)
    x_RK = torch.cat([free_RK, free_RK @ torch.randn(4, 3)], 1)
    weight_NK, kept = torch.randn(5, 7), torch.arange(4)
    halves = [part.T @ part for part in x_RK.split(100)]
    fitted = importance.with_stand_ins(weight_NK, halves, kept)
    error = (x_RK[:, kept] @ fitted.T - x_RK @ weight_NK.T).norm() / (x_RK @ weight_NK.T).norm()
    assert error < 1e-3 < ((x_RK[:, kept] @ weight_NK[:, kept].T - x_RK @ weight_NK.T).norm() / 100)


def test_stand_ins_leave_weights_alone_where_nothing_can_be_told():
    torch.manual_seed(0)
    x_RK = torch.randn(60, 40)
    weight_NK, kept = torch.randn(3, 40), torch.arange(30)
    fitted = importance.with_stand_ins(weight_NK, [part.T @ part for part in x_RK.split(30)], kept)
    assert (fitted - weight_NK[:, kept]).norm() < 0.35 * weight_NK[:, kept].norm()


def test_the_layer_that_does_least_goes_first(tiny, text):
    encoder = TorchEncoder.open(tiny("minilm"))
    body = Body(encoder.module.body.transformer, "tiny")
    with torch.no_grad():  # normalised already, the second layer changes next to nothing
        for name in ("attended", "second"):
            layer = body.layers[1].part(name)
            layer.weight.mul_(1e-4)
            layer.bias.zero_()
    feeds = list(calibration.feeds(encoder.tokens, calibration.some_texts((text,), 16)))
    kept, steps = layers.choose_layers(encoder.module, body, feeds, 16, 1)
    assert kept == [0]
    assert steps[0] < 1e-3
    assert len(body.layers) == 2  # choosing changes nothing


@pytest.mark.parametrize("name", FAMILIES)
def test_without_each_layer_is_what_the_model_gives_without_it(tiny, text, name):
    """Against the slow obvious way: the whole model anew, with all layers but one."""
    encoder = TorchEncoder.open(tiny(name))
    body = Body(encoder.module.body.transformer, name)
    whole = [*body.stack.layer, copy.deepcopy(body.stack.layer[0])]
    feeds = list(calibration.feeds(encoder.tokens, calibration.some_texts((text,), 16)))
    found_PND = layers.without_each(encoder.module, body, whole, feeds, 16)
    for place in range(len(whole)):
        body.stack.layer = torch.nn.ModuleList([*whole[:place], *whole[place + 1 :]])
        slow_ND = calibration.vectors(encoder.module, feeds, 16)
        np.testing.assert_allclose(found_PND[place], slow_ND, atol=1e-6)
    assert np.abs(found_PND[0] - found_PND[1]).max() > 1e-3


def test_aligning_shrinks_the_damage(tiny, tmp_path, text, monkeypatch):
    aligned = prune(cfg(tiny("minilm"), tmp_path / "a", text, ffn=8)).damage
    monkeypatch.setattr(structure, "align", lambda *parts: None)
    plain = prune(cfg(tiny("minilm"), tmp_path / "b", text, ffn=8)).damage
    assert 0 < aligned < plain


def test_a_table_as_narrow_as_its_rank_loses_nothing(tiny_copy, tmp_path, text):
    """A bag of tokens whose table has rank 4: four columns and a Dense give the same vectors."""
    folder = tiny_copy("static")
    torch.manual_seed(0)
    rows = len(load_file(folder / "model.safetensors")["embedding.weight"])
    table = torch.randn(rows, 4) @ torch.randn(4, 16)
    save_file({"embedding.weight": table}, folder / "model.safetensors")
    done = prune(cfg(folder, tmp_path / "new", text, table=4))
    assert abs(done.damage) < 1e-5
    assert load_file(tmp_path / "new" / "model.safetensors")["embedding.weight"].shape == (rows, 4)
    assert load(str(tmp_path / "new")).encode(["a"]).shape == (1, 16)
    assert prune(cfg(folder, tmp_path / "less", text, table=2)).damage > 0.05


def test_a_bert_becomes_an_electra_with_a_narrow_table(tiny_copy, tmp_path, text):
    folder = tiny_copy("minilm")
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    basis = torch.randn(5, 16)
    for name in ("word", "position", "token_type"):
        key = f"embeddings.{name}_embeddings.weight"
        weights[key] = (torch.randn(len(weights[key]), 5) @ basis).contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    done = prune(cfg(folder, tmp_path / "new", text, table=8))
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["model_type"], config["embedding_size"], config["hidden_size"]) == ("electra", 8, 16)
    assert done.damage < 1e-3
    assert prune(cfg(folder, tmp_path / "less", text, table=3, ffn=16, layers=1)).damage > 10 * max(done.damage, 1e-5)


@pytest.mark.parametrize(
    ("name", "sizes", "words"),
    [
        ("minilm", {"dim": 12}, "--dim 12 does not divide into heads of 8 values"),
        ("minilm", {"heads": 1, "dim": 16}, "--dim 16 and --heads 1 do not fit: .* 8 values, 8; give one"),
        ("minilm", {"layers": 3}, "--layers is 3, but the model has only 2"),
        ("minilm", {"layers": 2}, "the model already has layers 2, heads 2"),
        ("minilm", {}, "nothing to prune: give at least one of --layers"),
        ("minilm", {"ffn": -1}, "--ffn must be at least 1, got -1"),
        ("static", {"layers": 1}, "is a bag of tokens"),
        ("static", {"table": 16}, "--table is 16; the table is 16 wide"),
        ("xlmr", {"table": 8}, "which only BERT becomes; this is 'xlm-roberta'"),
        ("electra", {"heads": 1}, "a stock ELECTRA 8 wide has no projection"),
    ],
)
def test_mistakes_are_one_sentence(tiny, tmp_path, text, name, sizes, words):
    with pytest.raises(UserError, match=words):
        prune(cfg(tiny(name), tmp_path / "new", text, **sizes))
    assert not list(tmp_path.iterdir())


def test_healing_from_the_original_mends(tiny, tmp_path, capsys):
    """The vectors of a pruned model come nearer to the original's again, and the folder keeps its shape."""
    texts = [text for language in ("en", "de", "fr", "es") for text in sample.sentences(language)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    pruned, healed, file = str(tmp_path / "pruned"), str(tmp_path / "healed"), str(tmp_path / "texts.txt")
    assert main(["prune", str(tiny("labse")), "--ffn", "8", "--layers", "1", "--data", file, "--out", pruned]) == 0
    assert "damage      0." in capsys.readouterr().out
    settings = {
        "batch": 64, "loop.steps": 120, "loop.eval_every": 200, "loop.bf16": "false", "loop.device": "cpu",
        "loop.tensorboard": "false", "loop.optimizer.lr": 0.003, "objectives.ranking": 0, "objectives.similarity": 0,
        "corpus.heldout": 0,
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    words = ["distill", "--student", pruned, "--teacher", str(tiny("labse")), "--texts", file, "--out", healed]
    assert main([*words, *options]) == 0
    original, before, after = (load(place).encode(texts) for place in (str(tiny("labse")), pruned, healed))
    damage_before, damage_after = (calibration.damage(original, vectors) for vectors in (before, after))
    assert damage_after < 0.6 * damage_before
    shapes = [{k: v.shape for k, v in load_file(f"{place}/model.safetensors").items()} for place in (pruned, healed)]
    assert shapes[0] == shapes[1]


def test_a_model_cut_in_width_heals_through_a_projection_that_starts_where_it_is(tiny, tmp_path, capsys):
    texts = [text for language in ("en", "de", "fr", "es") for text in sample.sentences(language)]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    whole, file = str(tiny("minilm")), str(tmp_path / "texts.txt")
    cut, healed = str(tmp_path / "cut"), str(tmp_path / "new")
    assert main(["prune", whole, "--heads", "1", "--data", file, "--out", cut]) == 0
    settings = {
        "batch": 64, "loop.steps": 60, "loop.eval_every": 200, "loop.bf16": "false", "loop.device": "cpu",
        "loop.tensorboard": "false", "loop.optimizer.lr": 0.003, "objectives.ranking": 0, "corpus.heldout": 0,
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    assert main(["distill", "--student", cut, "--teacher", whole, "--texts", file, "--out", healed, *options]) == 0
    assert json.loads((tmp_path / "new.work/projection/manifest.json").read_text())["facts"] == {"rotated": True}
    original, before, after = (load(place).encode(texts) for place in (whole, cut, healed))
    assert before.shape[1] == after.shape[1] < original.shape[1]
    assert calibration.damage(original, after) < 0.8 * calibration.damage(original, before)


def test_no_model_is_replaced_by_what_is_made_from_it(tiny_copy, tmp_path, text):
    folder = tiny_copy("minilm")
    weights = (folder / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="is a model that the new one is made from"):
        prune(cfg(folder, folder, text, layers=1, overwrite=True))
    with pytest.raises(UserError, match="is a model that the new one is made from"):
        trim(Trim(model=str(folder), out=folder, corpus=(text,), overwrite=True))
    assert (folder / "model.safetensors").read_bytes() == weights


def test_lineage_names_the_files_of_a_folder(tiny, tmp_path, text):
    (tmp_path / "texts").mkdir()
    file = shutil.copy(text, tmp_path / "texts")
    prune(cfg(tiny("minilm"), tmp_path / "new", str(tmp_path / "texts"), layers=1))
    assert str(file) in json.loads((tmp_path / "new/lineage.json").read_text())["inputs"]


def test_a_student_that_is_no_model_is_named(tiny_copy, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    plain = tiny_copy("minilm")
    (plain / "modules.json").unlink()
    for given, message in (
        (["--student", str(tmp_path / "empty")], "empty is not a model folder"),
        (["--student", "none"], "There is no folder 'none' here"),
        (["--student", str(plain)], "--student takes the name or folder of a model (with modules.json)"),
        (["--student="], "--student takes the name or folder of a model (with modules.json)"),
    ):
        assert main(["distill", "--texts", "x", "--out", "y", *given]) == 2
        assert message in capsys.readouterr().err


def test_a_student_may_be_a_name(tiny, monkeypatch):
    from compact_labse.commands.distill import _whole_model
    from compact_labse.locate import EMBEDDED

    monkeypatch.setitem(EMBEDDED, "minilm", lambda: tiny("minilm"))
    named, path = ["--student.kind", "folder", "--student.start"], str(tiny("minilm"))
    assert _whole_model(["--student", "minilm", "--out", "y"]) == [*named, path, "--out", "y"]
    assert _whole_model(["--out", "y", "--student=minilm"]) == ["--out", "y", *named, path]


def test_a_student_is_named_once(tiny, capsys):
    words = ["distill", "--student", str(tiny("minilm")), "--student.start", "other", "--texts", "x", "--out", "y"]
    assert main(words) == 2
    assert "--student says what is trained" in capsys.readouterr().err


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_a_plain_transformers_folder_is_pruned_with_its_pooling(tiny, tmp_path, text, pooling, capsys):
    """The same as of a folder that says it; and without `--pooling` the sentence says how."""
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny("labse") / name, plain / name)
    words = ["prune", str(plain), "--layers", "1", "--texts", "16", "--data", text, "--out", str(tmp_path / "new")]
    assert main(words) == 2
    assert "does not say how to pool: give --pooling mean, cls or pooler" in capsys.readouterr().err
    assert main([*words, "--pooling", pooling]) == 0
    write_pooled(plain, pooling, tmp_path / "pooled")
    prune(cfg(tmp_path / "pooled", tmp_path / "other", text, layers=1))
    texts = sample.sentences("de")[:8]
    found = load(str(tmp_path / "new")).encode(texts)
    assert abs(found).max() > 0.1
    np.testing.assert_allclose(found, load(str(tmp_path / "other")).encode(texts), atol=1e-6)
    assert sorted(json.loads((tmp_path / "new" / "lineage.json").read_text())["inputs"]) == sorted([str(plain), text])


def test_pooling_is_not_said_twice(tiny, tmp_path, text):
    with pytest.raises(UserError, match="says how to pool: leave out --pooling"):
        prune(cfg(tiny("minilm"), tmp_path / "new", text, layers=1, pooling="mean"))
