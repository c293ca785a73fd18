"""Pruning in steps with training after each: the plan, the models on the way, going on after an interruption."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.compress.structure import Prune
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.pipelines import load_pipeline
from compact_labse.training.distillation import Distillation
from compact_labse.training.loop_config import LoopConfig
from compact_labse.training.schedule import OptimizerConfig

WHOLE = {"layers": 6, "heads": 12, "ffn": 1536, "dim": 384, "table": 384}


@pytest.fixture(scope="module")
def gradual():
    return load_pipeline("distill", "gradual")


@pytest.fixture
def text(tmp_path) -> str:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(sample.sentences("en")), encoding="utf-8")
    return str(path)


def target(model, out, text, **sizes) -> Prune:
    return Prune(model=str(model), out=out, data=(text,), texts=16, **sizes)


def loop(steps: int, **more) -> LoopConfig:
    rates = OptimizerConfig(lr=3e-3, table_lr=3e-3)
    return LoopConfig(steps=steps, bf16=False, eval_every=0, tensorboard=False, device="cpu", optimizer=rates, **more)


def test_steps_are_equal_shares_of_the_way_and_empty_ones_are_left_out(gradual):
    after = WHOLE | {"layers": 4, "ffn": 768}
    assert gradual.stages(WHOLE, after, 1) == [{"layers": 4, "ffn": 768}]
    plan = gradual.stages(WHOLE, after, 3)
    assert plan == [{"ffn": 1280}, {"layers": 5, "ffn": 1024}, {"layers": 4, "ffn": 768}]
    assert gradual.stages(WHOLE, WHOLE | {"layers": 5}, 3) == [{"layers": 5}]
    assert gradual.stages(WHOLE, WHOLE | {"heads": 8, "dim": 256, "table": 256}, 2) == [{"heads": 10}, {"heads": 8}]
    assert gradual.stages(WHOLE, WHOLE | {"layers": 4, "table": 128}, 2) == [{"layers": 5}, {"layers": 4, "table": 128}]


def test_every_step_prunes_what_the_step_before_healed(gradual, tiny, tmp_path, text):
    cfg = gradual.GradualConfig(target=target(tiny("minilm"), tmp_path / "new", text, ffn=8), steps=2, loop=loop(40))
    found = gradual.run(cfg)
    assert [step["ffn"] for step in found] == [20, 8]
    for step in found:
        assert 0 < step["after"] < step["before"], "training mends"
    assert json.loads((tmp_path / "new" / "config.json").read_text())["intermediate_size"] == 8
    [second] = (tmp_path / "new.work").glob("2-pruned-????????")
    [first] = (tmp_path / "new.work").glob("1-healed-????????")
    assert json.loads((second / "lineage.json").read_text())["config"]["model"] == str(first)
    assert json.loads((tmp_path / "new" / "lineage.json").read_text())["config"]["teacher"] == str(tiny("minilm"))


def test_text_that_changed_under_its_name_is_pruned_for_anew(gradual, tiny, tmp_path, text):
    cfg = gradual.GradualConfig(target=target(tiny("minilm"), tmp_path / "new", text, ffn=8), steps=1, loop=loop(1))
    gradual.run(cfg)
    with open(text, "a", encoding="utf-8") as file:
        file.write("\nOne more sentence.")
    shutil.rmtree(tmp_path / "new")
    gradual.run(cfg)
    assert len(list((tmp_path / "new.work").glob("1-pruned-????????"))) == 2


def test_pairs_heal_in_both_languages(gradual, tiny, tmp_path, monkeypatch):
    path = tmp_path / "en-de.tsv"
    rows = zip(sample.sentences("en"), sample.sentences("de"), strict=True)
    path.write_text("".join(f"{one}\t{other}\n" for one, other in rows), encoding="utf-8")
    seen = []
    monkeypatch.setattr(gradual, "load_pipeline", lambda *_: SimpleNamespace(run=seen.append, DistillConfig=dict))
    gradual.heal("pruned", "original", [str(path)], tmp_path / "new", loop(1))
    assert (seen[0]["data"], seen[0]["texts"], seen[0]["objectives"].ranking) == ([str(path)], [], 1.0)


def test_an_interrupted_run_goes_on_and_ends_the_same(gradual, tiny, tmp_path, text, monkeypatch):
    made = {}
    batch, stop = Distillation.batch, [4]

    def stopping(task, number):
        if stop and second() and number == stop[0]:
            raise KeyboardInterrupt
        return batch(task, number)

    def second() -> bool:
        return any((tmp_path / "stopped.work").glob("2-pruned-????????"))

    monkeypatch.setattr(Distillation, "batch", stopping)
    for name in ("straight", "stopped"):
        wanted = target(tiny("minilm"), tmp_path / name, text, layers=1, ffn=16)
        cfg = gradual.GradualConfig(target=wanted, steps=2, loop=loop(6, checkpoint_every=2))
        if name == "stopped":
            with pytest.raises(KeyboardInterrupt):
                gradual.run(cfg)
            stop.clear()
        gradual.run(cfg)
        made[name] = (tmp_path / name / "model.safetensors").read_bytes()
    assert made["straight"] == made["stopped"]


def test_the_command(tiny, tmp_path, text, capsys):
    words = ["prune", str(tiny("minilm")), "--layers", "1", "--ffn", "16", "--data", text, "--texts", "16"]
    assert main([*words, "--gradual", "2", "--minutes", "0.02", "--out", str(tmp_path / "new"), "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [(step.get("layers"), step["ffn"]) for step in steps] == [(None, 24), (1, 16)]
    assert load(str(tmp_path / "new")).encode(["The train leaves."]).shape == (1, 16)


def test_what_cannot_be_done_in_steps(gradual, tiny, tmp_path, text):
    with pytest.raises(UserError, match="--gradual must be at least 1, got 0"):
        gradual.GradualConfig(target=target(tiny("minilm"), tmp_path / "new", text, layers=1), steps=0)
    bag = target(tiny("static"), tmp_path / "new", text, table=4)
    with pytest.raises(UserError, match="is a bag of tokens, which has nothing to prune gradually"):
        gradual.run(gradual.GradualConfig(target=bag))
    assert not (tmp_path / "new").exists()
