"""Pretraining end to end on a made-up corpus: stacking, resuming, starting from a folder, the folder that comes out."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")

import torch
from safetensors.torch import load_file

from compact_labse.cli import main
from compact_labse.folder import read_lineage
from compact_labse.locate import EMBEDDED
from compact_labse.training.mlm import MaskedLM
from tests.ranks_program import start
from tests.tiny_pairs import sentences, write_corpus

QUICK = {
    "vocabulary.size": 150, "vocabulary.texts": 1000, "student.kind": "bert", "student.dim": 16, "student.layers": 4,
    "student.heads": 2, "student.ffn": 24, "student.max_tokens": 40, "student.dropout": 0.1, "max_tokens": 40,
    "batch": 16, "corpus.heldout": 10, "corpus.heldout_share": 0.2, "loop.steps": 6, "loop.eval_every": 0,
    "loop.bf16": "false", "loop.device": "cpu", "loop.tensorboard": "false",
}  # fmt: skip


def words(folder, out="bert", **settings):
    given = QUICK | {name.replace("__", "."): value for name, value in settings.items()}
    return ["pretrain", "--data", str(folder / "corpus"), "--out", str(folder / out), *_assigned(given)]


def _assigned(given):
    return [f"{name}={value}" for name, value in given.items()]


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "corpus", 120)
    return tmp_path


def test_stacked_from_shallow_to_deep_and_read_by_its_peers(folder, capsys):
    """The folder opens in transformers with its head, and as an encoder here."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from compact_labse.torch_encoder import TorchEncoder

    text = folder / "alone.txt"
    text.write_text("".join(f"{' '.join(row)}\n" for row in sentences(60, seed=3)), encoding="utf-8")
    assert main([*words(folder, stacking="[3,3]", vocabulary__kind="unigram"), "--texts", str(text)]) == 0
    said = capsys.readouterr().err
    assert "stage 1 of 3: 1 layers" in said
    assert "stage 3 of 3: 4 layers" in said
    out = folder / "bert"
    model = AutoModelForMaskedLM.from_pretrained(out)
    assert model.config.num_hidden_layers == 4
    assert model.config.architectures == ["BertForMaskedLM"]
    tokenizer = AutoTokenizer.from_pretrained(out)
    found = model(**tokenizer(f"the cat {tokenizer.mask_token} the house", return_tensors="pt"))
    assert found.logits.shape[-1] == len(tokenizer) == model.config.vocab_size
    last = dict(model.bert.state_dict())
    assert not torch.equal(last["encoder.layer.0.output.dense.weight"], last["encoder.layer.2.output.dense.weight"])
    assert TorchEncoder.open(out, pooling="mean", device="cpu").encode(["the cat"]).shape == (1, 16)
    lineage = read_lineage(out)
    assert lineage["command"] == "pretrain"
    assert str(text) in lineage["inputs"]
    logged = [json.loads(line) for line in (folder / "bert.work/training/log.jsonl").read_text().splitlines()]
    assert {"mlm", "tlm"} <= set(logged[0])


def test_the_second_stage_starts_as_two_copies_of_the_first(folder, monkeypatch):
    from compact_labse.training import loop

    seen = []

    def watched(task, *given, **named):
        seen.append({name: tensor.clone() for name, tensor in task.module.state_dict().items()})
        progress = loop_train(task, *given, **named)
        seen.append({name: tensor.clone() for name, tensor in task.module.state_dict().items()})
        return progress

    loop_train = loop.train
    monkeypatch.setattr(loop, "train", watched)
    assert main(words(folder, stacking="[2]")) == 0
    shallow, deep = seen[1], seen[2]
    copied = [name for name in shallow if "layer.0." in name or "layer.1." in name]
    assert len(copied) > 20
    for name in shallow:
        assert torch.equal(deep[name], shallow[name]), name
    for name in copied:
        upper = name.replace("layer.1.", "layer.3.").replace("layer.0.", "layer.2.")
        assert torch.equal(deep[upper], shallow[name]), upper


@pytest.mark.parametrize("at", [4, 9])
def test_an_interrupted_run_ends_with_the_same_weights(folder, monkeypatch, at):
    """Interrupted in the shallow stage (batch 4), and in the deep one (batch 9 of 5 + 6)."""
    again = {"stacking": "[5]", "loop__checkpoint_every": 2}
    assert main(words(folder, "straight", **again)) == 0
    batch = MaskedLM.batch

    def broken(task, number):
        if number + task.first == at:
            raise KeyboardInterrupt
        return batch(task, number)

    monkeypatch.setattr(MaskedLM, "batch", broken)
    assert main(words(folder, "broken", **again)) == 130
    monkeypatch.setattr(MaskedLM, "batch", batch)
    assert main(words(folder, "broken", **again)) == 0
    one, other = ((folder / name / "model.safetensors").read_bytes() for name in ("straight", "broken"))
    assert one == other


def together(folder, out, **settings):
    """The command on two processes; exit code and stderr of each."""
    running = start("compact_labse", 2, words(folder, out, **settings))
    return [(process.wait(timeout=600), process.stderr.read()) for process in running]


def test_two_processes_train_what_one_trains(folder):
    same = {"stacking": "[3]", "student__dropout": 0, "loop__eval_every": 3}
    assert main(words(folder, "one", **same)) == 0
    ended = together(folder, "two", **same)
    assert [code for code, _ in ended] == [0, 0], ended
    assert "stage 2 of 2" in ended[0][1]
    assert "stage" not in ended[1][1], "the first rank speaks"
    one, two = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    [best] = (folder / "one.work/training-1").glob("best-*")
    fresh = load_file(best / "weights.safetensors")
    assert any("layer.0" in name for name in fresh)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    logs = [(folder / f"{name}.work/training/log.jsonl").read_text().splitlines()[-1] for name in ("one", "two")]
    held_out = [json.loads(line)["heldout/score"] for line in logs]
    assert held_out[0] == pytest.approx(held_out[1], abs=1e-3)


def test_ranks_that_cannot_share_a_batch_are_told(folder):
    ended = together(folder, "odd", batch=15)
    assert [code for code, _ in ended] == [2, 2]
    assert "batch 15 must divide evenly among 2 ranks" in ended[0][1]


def test_it_goes_on_from_a_folder_and_keeps_its_tokenizer(folder, tiny):
    source = tiny("xlmr")
    given = [*words(folder)[:5], f"model={source}", "batch=8", "loop.steps=2", "loop.bf16=false", "max_tokens=30"]
    assert main([*given, "loop.tensorboard=false"]) == 0
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(folder / "bert")
    assert model.config.model_type == "xlm-roberta"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / "bert" / name).read_bytes() == (source / name).read_bytes()


def test_the_model_may_be_a_name(folder, tiny, monkeypatch):
    monkeypatch.setitem(EMBEDDED, "minilm", lambda: tiny("labse"))
    given = [*words(folder)[:5], "model=minilm", "batch=8", "loop.steps=1", "loop.bf16=false", "max_tokens=30"]
    assert main([*given, "loop.tensorboard=false"]) == 0
    assert (folder / "bert" / "tokenizer.json").read_bytes() == (tiny("labse") / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(("name", "fits"), [("labse", 48), ("xlmr", 46)])
def test_rows_longer_than_the_models_positions_are_refused_before_the_corpus_is_read(folder, tiny, capsys, name, fits):
    """XLM-R counts positions from its padding id."""
    given = [*words(folder)[:5], f"model={tiny(name)}", f"max_tokens={fits + 1}"]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert f"max_tokens is {fits + 1}, but {tiny(name)} has {fits} positions: max_tokens={fits}" in said
    assert not (folder / "bert.work").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["student.layers=6", "stacking=[1,1]"], "must be a multiple of 4"),
        (["stacking=[0]"], "at least 1 each"),
        (["student.kind=static"], "student.kind must be 'bert' or 'electra', got 'static'"),
        (["max_tokens=64"], "max_tokens is 64, but student.max_tokens"),
        (["model=none"], "There is no folder 'none' here"),
        (["vocabulary.kind=teacher"], "vocabulary.kind must be 'unigram' or 'wordpiece', got 'teacher'"),
        (["masking.share=2"], "masking.share is a share"),
        (["student.bits=4"], "student.bits belong to distillation"),
        (["corpus.companions=1"], "corpus.companions and student.bits belong to distillation"),
    ],
)
def test_mistakes_are_one_sentence(folder, capsys, change, message):
    assert main([*words(folder), *change]) == 2
    assert message in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    assert main(["pretrain", "--help"]) == 0
    said = capsys.readouterr().out
    assert "compact-labse pretrain --data pairs/ --texts" in said
    assert "--masking.whole_words" in said
    assert "companions" not in said and "student.start" not in said


@pytest.mark.slow
def test_a_pretrained_model_becomes_a_checkpoint_of_tensorflow_with_its_head(folder, tmp_path):
    """Through TF2 and back: body and head have the same values, and the teacher trained on top converts, too."""
    pytest.importorskip("tensorflow")
    shape = ["vocabulary.kind=wordpiece", "loop.steps=2"]
    assert main([*words(folder), *shape]) == 0
    assert main(["convert", str(folder / "bert"), "--to-tf2", str(tmp_path / "tf2")]) == 0
    assert main(["convert", str(tmp_path / "tf2"), "--out", str(tmp_path / "back"), "--pooling", "mean"]) == 0
    before = {name.removeprefix("bert."): t for name, t in load_file(folder / "bert/model.safetensors").items()}
    after = load_file(tmp_path / "back/model.safetensors")
    assert len(before) > 60
    assert any(name.startswith("cls.predictions.transform") for name in before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name


def test_training_goes_on_from_a_pretrained_model(folder):
    """Also with BERT's pooler, which masked language modelling does not train: it starts as a random one."""
    from compact_labse.encoder import load

    assert main(words(folder)) == 0
    for pooling in ("pooler", "mean"):
        out = folder / f"teacher-{pooling}"
        given = ["train", "--data", str(folder / "corpus"), "--out", str(out), "--model", str(folder / "bert")]
        quick = ["batch=8", "loop.steps=2", "loop.bf16=false", "loop.tensorboard=false", "corpus.heldout=5"]
        assert main([*given, f"pooling={pooling}", *quick]) == 0
        assert load(out).encode(["the cat"]).shape == (1, 16)
    assert load(folder / "teacher-pooler").module.modes == ("cls",)


@pytest.mark.slow
def test_a_trained_teacher_becomes_a_checkpoint_of_tensorflow(folder, tmp_path):
    pytest.importorskip("tensorflow")
    out = folder / "teacher"
    given = [
        "train",
        "--data",
        str(folder / "corpus"),
        "--out",
        str(out),
        "pooling=pooler",
        "vocabulary.kind=wordpiece",
    ]
    quick = ["batch=8", "loop.steps=2", "loop.bf16=false", "loop.tensorboard=false", "corpus.heldout=5"]
    shape = [f"{name}={value}" for name, value in QUICK.items() if name.startswith(("student", "vocabulary"))]
    assert main([*given[:5], *shape, *given[5:], *quick]) == 0
    assert main(["convert", str(out), "--to-tf2", str(tmp_path / "tf2")]) == 0
    back = tmp_path / "back"
    assert main(["convert", str(tmp_path / "tf2"), "--out", str(back), "--pooling", "pooler"]) == 0
    from safetensors.torch import load_file

    one, other = (load_file(place / "2_Dense/model.safetensors") for place in (out, back))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_text_without_any_pair_is_enough(folder):
    text = folder / "alone.txt"
    text.write_text("".join(f"{' '.join(row)}\n" for row in sentences(60, seed=3)), encoding="utf-8")
    given = words(folder)
    place = given.index("--data")
    assert main([*given[:place], *given[place + 2 :], "--texts", str(text), "masking.whole_words=true"]) == 0
    assert (folder / "bert/model.safetensors").is_file()
