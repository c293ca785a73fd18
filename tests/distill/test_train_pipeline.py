"""Training a teacher end to end on a made-up corpus: one process, several, folders in and out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")

import torch
from safetensors.torch import load_file

from compact_labse import sample
from compact_labse.cli import main
from compact_labse.encoder import load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, read_lineage
from compact_labse.gather import CorpusConfig
from compact_labse.locate import EMBEDDED
from compact_labse.pipelines import load_pipeline, pipeline_folder
from compact_labse.students import StudentConfig
from tests.ranks_program import start
from tests.tiny_pairs import GERMAN, sentences, write_corpus

QUICK = {
    "student.dim": 16,
    "student.layers": 1,
    "student.heads": 2,
    "student.max_tokens": 24,
    "student.dropout": 0.1,
    "max_tokens": 16,
    "vocabulary.size": 150,
    "batch": 32,
    "chunk": 24,
    "scale": 20,
    "corpus.heldout": 10,
    "corpus.heldout_share": 0.2,
    "loop.steps": 30,
    "loop.eval_every": 15,
    "loop.checkpoint_every": 4,
    "loop.log_every": 5,
    "loop.bf16": "false",
    "loop.device": "cpu",
    "loop.tensorboard": "false",
    "loop.optimizer.lr": 0.01,
    "loop.optimizer.table_lr": 0.02,
    "timeout_s": 60,
}


def words(folder: Path, out: str = "teacher", **settings: object) -> list[str]:
    given = QUICK | {name.replace("__", "."): value for name, value in settings.items()}
    named = [f"{name}={value}" for name, value in given.items()]
    return ["train", "--data", str(folder / "corpus"), "--out", str(folder / out), *named]


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "corpus")
    return tmp_path


def retrieval(place: Path) -> float:
    rows = sentences(60, seed=5)
    encoder = load(place)
    english = encoder.encode([" ".join(row) for row in rows])
    german = encoder.encode([" ".join(GERMAN[phrase] for phrase in row) for row in rows])
    return float(((german @ english.T).argmax(1) == np.arange(60)).mean())


def log_of(folder: Path, out: str = "teacher") -> list[dict]:
    path = folder / f"{out}.work/training/log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_the_smallest_configuration_runs_on_the_embedded_sample(tmp_path):
    """As the README says: for trying a command."""
    sample.write_tsv(tmp_path / "pairs")
    config = str(pipeline_folder("distill") / "teacher" / "micro.yaml")
    given = ["train", "--config", config, "--data", str(tmp_path / "pairs"), "--out", str(tmp_path / "teacher")]
    assert main([*given, "loop.steps=2", "loop.eval_every=0"]) == 0
    assert load(tmp_path / "teacher").encode(["the cat"]).shape == (1, 32)


def together(folder: Path, ranks: int, *more: str, out: str = "teacher", **settings: object) -> list[tuple[int, str]]:
    """The command on several processes; exit code and stderr of each."""
    running = start("compact_labse", ranks, [*words(folder, out, **settings), *more])
    return [(process.wait(timeout=600), process.stderr.read()) for process in running]


def test_a_new_teacher_learns_and_opens_everywhere(folder):
    assert main(words(folder, learn_scale="true")) == 0
    teacher = folder / "teacher"
    assert retrieval(teacher) > 0.5
    line = next(line for line in log_of(folder) if "loss" in line)
    assert {"accuracy", "scale", "gradient_norm", "pairs_per_s", "tokens_per_s", "lr"} <= set(line)
    assert any("heldout/score" in line for line in log_of(folder))
    assert read_lineage(teacher)["command"] == "train"
    peers = pytest.importorskip("sentence_transformers").SentenceTransformer(str(teacher), device="cpu")
    texts = ["the cat sees the house", "die Katze sieht das Haus"]
    np.testing.assert_allclose(peers.encode(texts), load(teacher).encode(texts), atol=1e-5)
    assert len({line["scale"] for line in log_of(folder) if "scale" in line}) > 1, "the scale is learned"


def test_a_new_teacher_may_have_berts_pooler(folder):
    assert main(words(folder, pooling="pooler", loop__steps=2)) == 0
    start, teacher = (
        load_file(folder / name / "2_Dense/model.safetensors") for name in ("teacher.work/start", "teacher")
    )
    assert not torch.equal(start["linear.weight"], teacher["linear.weight"])
    assert load(folder / "teacher").module.modes == ("cls",)


def test_a_folder_goes_in_and_comes_out_with_other_weights_alone(folder, tiny):
    assert main(words(folder, model=tiny("labse"), loop__steps=3)) == 0
    before, after = tiny("labse"), folder / "teacher"
    assert (after / "modules.json").read_bytes() == (before / "modules.json").read_bytes()
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        one, other = load_file(before / name), load_file(after / name)
        assert {key: value.shape for key, value in other.items()} == {
            key: value.shape for key, value in one.items() if not key.startswith("pooler.")
        }
        assert any(not torch.equal(value, one[key]) for key, value in other.items()), name


def test_a_plain_folder_needs_its_pooling_and_gets_modules(folder, tiny_copy):
    plain = tiny_copy("minilm")
    for name in ("modules.json", "sentence_bert_config.json"):
        (plain / name).unlink()
    shutil.rmtree(plain / "1_Pooling")
    pipeline = load_pipeline("distill", "teacher/train")
    with pytest.raises(UserError, match="does not say how to pool: give --pooling"):
        pipeline.run(pipeline.TrainConfig(out=str(folder / "x"), data=[str(folder / "corpus")], model=str(plain)))
    assert main(words(folder, model=plain, pooling="cls", loop__steps=2)) == 0
    assert load(folder / "teacher").module.modes == ("cls",)


def test_a_model_is_found_by_its_name(folder, tiny, monkeypatch):
    monkeypatch.setitem(EMBEDDED, "minilm", lambda: tiny("minilm"))
    assert main(words(folder, model="minilm", loop__steps=1)) == 0
    assert read_lineage(folder / "teacher")["inputs"]["start"] == model_hash(tiny("minilm"))


def test_a_model_that_is_not_there_is_said_before_the_corpus_is_read(folder, tiny_copy, capsys):
    assert main(words(folder, model="sentence-transformers/LaBSE")) == 2
    assert "did not give 'sentence-transformers/LaBSE'" in capsys.readouterr().err
    plain = tiny_copy("minilm")
    (plain / "modules.json").unlink()
    assert main(words(folder, model=plain)) == 2
    said = capsys.readouterr().err
    assert "does not say how to pool" in said and "pairs: making" not in said
    assert {path.name for path in folder.iterdir()} == {"corpus", "minilm"}


def test_what_shapes_a_new_model_is_named_where_a_folder_is_trained(folder, tiny, capsys):
    assert main(words(folder, model=tiny("labse"), loop__steps=1, student__dropout=0.0)) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: not used")]
    named = "student.dim, student.layers, student.heads, student.max_tokens, vocabulary.size"
    assert warned == [f"warning: not used: {named}; they describe a new model, and model is {tiny('labse')}"]


def test_too_few_pairs_for_a_batch_are_said(folder, capsys):
    (folder / "one").mkdir()
    (folder / "one" / "en-de.tsv").write_text("Good morning, everybody\tGuten Morgen zusammen\n")
    settings = {"corpus__heldout": 0, "loop__steps": 1, "loop__eval_every": 0, "vocabulary__kind": "wordpiece"}
    given = words(folder, **settings)
    given[2] = str(folder / "one")
    main(given)
    assert "warning: 1 pairs to train on, and 32 in a batch: every batch repeats them" in capsys.readouterr().err


def test_a_mistake_leaves_no_folder_behind(folder, capsys):
    given = words(folder)
    given[2] = str(folder / "nothing")
    assert main(given) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"corpus"}


def test_help_leaves_out_what_belongs_to_distillation(capsys):
    assert main(["train", "--help"]) == 0
    said = capsys.readouterr().out
    for name in ("corpus.companions", "student.keep", "student.bits", "student.compose", "student.fixed_ranges"):
        assert name not in said
    assert "student.layers" in said and "corpus.temperature" in said


def test_a_bag_of_tokens_trains_without_special_tokens(folder, tiny):
    assert main(words(folder, model=tiny("static"), loop__steps=2)) == 0
    before, after = (load_file(place / "model.safetensors") for place in (tiny("static"), folder / "teacher"))
    changed = (before["embedding.weight"] != after["embedding.weight"]).any(1)
    assert changed.any()
    assert not changed[:3].any(), "<s>, <pad> and </s> are in no text"


def test_hard_negatives_come_with_their_pairs(folder):
    assert main(words(folder, hard_negatives=2, loop__steps=2)) == 0
    assert (folder / "teacher.work/neighbours/near.array").is_file()


def test_a_static_table_grows_into_a_teacher_and_the_teacher_teaches(folder, tiny):
    static = ["distill", "--data", str(folder / "corpus"), "--out", str(folder / "bag"), "batch=32", "student.dim=12"]
    quick = {key: value for key, value in QUICK.items() if key.startswith(("loop", "corpus", "vocabulary"))}
    quiet = [f"{key}={value}" for key, value in quick.items()]
    assert main([*static, *quiet, "objectives.regression=0"]) == 0
    assert main(words(folder, student__start=folder / "bag", student__dropout=0.0, loop__steps=2)) == 0
    small = ["student.dim=8", "loop.steps=3", "--teacher", str(folder / "teacher")]
    assert main([*static[:3], "--out", str(folder / "small"), "batch=32", *quiet, *small]) == 0


def test_a_stream_of_uneven_shares_trains_two_processes(folder):
    short = (folder / "corpus/en-ru.tsv").read_text().splitlines()[:40]
    (folder / "corpus/en-ru.tsv").write_text("\n".join(short) + "\n")
    ended = together(folder, 2, "--stream", str(folder / "corpus"), loop__steps=8)
    assert [code for code, _ in ended] == [0, 0], ended
    assert log_of(folder)[-1]["step"] == 8, "40 pairs last for less than three batches of 16"


def test_a_run_does_not_go_on_with_a_stream_that_has_changed(folder, capsys):
    more = write_corpus(folder / "more") / "en-de.tsv"
    given = [*words(folder, loop__steps=2), "--stream", str(more)]
    assert main(given) == 0
    shutil.rmtree(folder / "teacher")
    assert main(given) == 0, "the same files: already finished"
    shutil.rmtree(folder / "teacher")
    more.write_text(more.read_text().replace("the cat", "the hen"))
    assert main(given) == 2
    assert "belongs to other settings or data" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(folder, engine):
    assert main(words(folder, out="one", student__dropout=0, loop__steps=8)) == 0
    ended = together(folder, 2, out="two", student__dropout=0, loop__steps=8, engine=engine)
    assert [code for code, _ in ended] == [0, 0], ended
    one, two = (load_file(folder / name / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=2e-3, atol=2e-4)
    logs = [[line["loss"] for line in log_of(folder, out) if "loss" in line] for out in ("one", "two")]
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-4)


def test_the_batch_must_divide_among_the_ranks(folder):
    ended = together(folder, 2, batch=33)
    assert {code for code, _ in ended} == {2}
    assert "batch 33 (and `local`) must divide evenly among 2 ranks" in ended[0][1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": []}, "no corpus was named"),
        ({"batch": 1}, "batch must be at least 2"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"chunk": -1}, "must not be negative"),
        ({"max_tokens": 2}, "max_tokens must be at least 4"),
        ({"engine": "horovod"}, "known: ddp, fsdp"),
        ({"local": 5}, "local must divide batch"),
        ({"student": StudentConfig(kind="bert", bits=4)}, "student.bits belong to distillation"),
        ({"corpus": CorpusConfig(companions=1)}, "corpus.companions and student.bits belong to distillation"),
    ],
)
def test_bounds_are_checked_in_the_users_words(changes, message):
    kind = load_pipeline("distill", "teacher/train").TrainConfig
    with pytest.raises(UserError, match=message):
        kind(**({"out": "x", "data": ["y"]} | changes))
