"""The distillation pipeline end to end on a made-up corpus with a tiny random teacher."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")

from compact_labse.cli import main
from compact_labse.encoder import load
from compact_labse.folder import read_lineage
from compact_labse.pipelines import load_pipeline, pipeline_folder
from compact_labse.training.checkpoint import checkpoints
from tests.tiny_pairs import write_corpus

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "vocabulary.size": 150,
    "student.dim": 16,
    "batch": 32,
    "corpus.heldout": 10,
    "corpus.heldout_share": 0.2,
    "loop.steps": 60,
    "loop.eval_every": 20,
    "loop.bf16": "false",
    "loop.device": "cpu",
    "loop.tensorboard": "false",
    "loop.optimizer.table_lr": 0.02,
}


def words(folder: Path, teacher: Path | None, out: str = "student", **settings: object) -> list[str]:
    given = QUICK | {name.replace("__", "."): value for name, value in settings.items()}
    if teacher is None:
        given |= {"objectives.regression": 0}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    named = [] if teacher is None else ["--teacher", str(teacher)]
    return ["distill", "--data", str(folder / "corpus"), "--out", str(folder / out), *named, *options]


@pytest.fixture
def folder(tmp_path):
    write_corpus(tmp_path / "corpus")
    return tmp_path


def retrieval(student: Path) -> float:
    """Share of German sentences that find their English one, among ones that the student may have trained on."""
    from tests.tiny_pairs import GERMAN, sentences

    rows = sentences(60, seed=5)
    encoder = load(student)
    english = encoder.encode([" ".join(row) for row in rows])
    german = encoder.encode([" ".join(GERMAN[phrase] for phrase in row) for row in rows])
    return float(((german @ english.T).argmax(1) == np.arange(60)).mean())


def test_a_static_student_then_layers_on_top_of_it(folder, tiny, capsys):
    assert main(words(folder, tiny("minilm"))) == 0
    static = retrieval(folder / "student")
    assert static > 0.5
    lineage = read_lineage(folder / "student")
    assert lineage["config"]["student"]["dim"] == 16
    assert set(lineage["inputs"]) >= {str(folder / "corpus" / "en-de.tsv"), "teacher"}
    assert (folder / "student" / "config.yaml").is_file()
    logged = [json.loads(line) for line in (folder / "student.work/training/log.jsonl").read_text().splitlines()]
    assert {"ranking", "regression"} <= set(logged[0])

    settings = {"student__kind": "electra", "student__start": folder / "student", "student__embedding": 20}
    small = {"student__dim": 24, "student__layers": 2, "student__max_tokens": 40, "loop__optimizer__table_lr": 0.001}
    assert main(words(folder, tiny("minilm"), "deep", **settings, **small, loop__steps=5)) == 0
    assert retrieval(folder / "deep") > static - 0.15, "the layers start as the identity"


def test_a_second_pass_learns_from_neighbours(folder, capsys):
    assert main(words(folder, None)) == 0
    before = retrieval(folder / "student")
    again = {"student__start": folder / "student", "corpus__companions": 3, "loop__optimizer__table_lr": 0.005}
    assert main(words(folder, None, "second", **again)) == 0
    assert "companions: searching among" in capsys.readouterr().err
    assert retrieval(folder / "second") > before - 0.05


def test_a_model_that_changed_under_its_name_is_noticed(folder, capsys):
    few = {"loop__steps": 3}
    assert main(words(folder, None, "first", **few)) == 0
    second = words(folder, None, "second", **few, student__start=folder / "first")
    assert main(second) == 0
    before = (folder / "second/model.safetensors").read_bytes()
    assert main([*words(folder, None, "first", loop__steps=6), "--overwrite", "true"]) == 0
    shutil.rmtree(folder / "second")
    assert main(second) == 2
    assert "belongs to other settings or data" in capsys.readouterr().err
    assert main([*second, "--overwrite", "true"]) == 0
    assert (folder / "second/model.safetensors").read_bytes() != before


def test_overwriting_spares_what_is_no_model_and_what_the_student_is_made_from(folder, capsys):
    precious = folder / "precious"
    precious.mkdir()
    (precious / "thesis.txt").touch()
    assert main([*words(folder, None, "precious"), "--overwrite", "true"]) == 2
    assert "is no model folder" in capsys.readouterr().err
    assert main(words(folder, None, "first", loop__steps=3)) == 0
    itself = words(folder, None, "first", loop__steps=3, student__start=folder / "first")
    assert main([*itself, "--overwrite", "true"]) == 2
    assert "is a model that the new one is made from" in capsys.readouterr().err


def test_the_same_command_again_reuses_every_stage(folder, tiny, capsys):
    command = words(folder, tiny("minilm"))
    assert main(command) == 0
    first = (folder / "student/model.safetensors").read_bytes()
    assert main(command) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert main([*command, "--overwrite", "true"]) == 0
    said = capsys.readouterr().err
    assert "pairs: reusing" in said
    assert "already finished at step 60" in said
    assert (folder / "student/model.safetensors").read_bytes() == first


def test_live_targets_learn_as_cached_ones_do(folder, tiny):
    assert main(words(folder, tiny("minilm"), "live", objectives__targets="live", loop__steps=5)) == 0
    assert not (folder / "live.work/targets").exists()


def test_a_bert_shaped_student_starts_from_the_teacher(folder, tiny):
    shape = {"student__kind": "bert", "student__start": "teacher", "vocabulary__kind": "teacher"}
    config = json.loads((tiny("minilm") / "config.json").read_text())
    sizes = {
        "student__layers": 1,
        "student__heads": config["num_attention_heads"],
        "student__ffn": config["intermediate_size"],
        "student__max_tokens": 40,
        "loop__steps": 3,
    }
    assert main(words(folder, tiny("minilm"), "bert", **shape, **sizes)) == 0
    assert load(folder / "bert").dim == 16


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_command_goes_on_and_gives_the_same_student(folder, tiny, sent):
    """Stopped in training by a real signal; the same command again ends with the bytes of an uninterrupted run."""
    settings = {"loop__steps": 400, "loop__checkpoint_every": 10, "loop__eval_every": 0}
    assert main(words(folder, tiny("minilm"), "straight", **settings)) == 0
    command = [sys.executable, "-m", "compact_labse", *words(folder, tiny("minilm"), "stopped", **settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not checkpoints(folder / "stopped.work/training"):
        time.sleep(0.01)
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == (130 if sent == signal.SIGINT else -sent), said
    assert ("give the same command again" in said) == (sent == signal.SIGINT)
    assert not (folder / "stopped").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "going on from step" in done.stderr
    straight, stopped = (folder / name / "model.safetensors" for name in ("straight", "stopped"))
    assert straight.read_bytes() == stopped.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data", "nowhere.tsv"], "no such file or folder: nowhere.tsv"),
        (["--data", "EMPTY"], "empty.tsv is empty"),
        (["--corpus.columns", "english", "german"], "no column 'english'"),
        (["--corpus.columns", "english,german"], "no column 'english'"),
        (["--corpus.columns", "[english, german]"], "no column 'english'"),
        (["--student.dim", "twelve"], "student.dim"),
        (["--student.dim", "0"], "student.dim must be at least 1"),
        (["--studnet.dim", "12"], "studnet.dim"),
        (["--batc", "12"], "batc"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--objectives.regression", "1", "--teacher", "no/such/teacher"], "no/such/teacher"),
        (["--corpus.companions", "3"], "corpus.companions are found by a trained student"),
        (["--corpus.companions", "4"], "batch must be a multiple of 1 + corpus.companions, which is 5; got 32"),
        (["--student.start", "no/such/folder"], "neither random, teacher nor a folder"),
        (["--vocabulary.size", "120", "--vocabulary.kind", "bpe"], "vocabulary.kind"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(folder, change, message, capsys):
    (folder / "empty.tsv").touch()
    change = [str(folder / "empty.tsv") if word == "EMPTY" else word for word in change]
    assert main([*words(folder, None), *change]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert not (folder / "student").exists()


def test_files_and_options_are_merged_and_printed(folder, capsys):
    (folder / "my.yaml").write_text("batch: 77\nstudent:\n  dim: 32\n")
    command = [*words(folder, None), "--config", str(folder / "my.yaml"), "--student.heads", "2", "--print_config"]
    assert main(command) == 0
    import yaml

    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["batch"], printed["student"]["dim"], printed["student"]["heads"]) == (77, 32, 2)


def test_help_shows_an_example(capsys):
    assert main(["distill", "--help"]) == 0
    said = capsys.readouterr().out
    assert "compact-labse distill --teacher minilm --data" in said
    assert "--loop.optimizer.table_lr" in said


def test_every_shipped_yaml_is_valid(tmp_path):
    from compact_labse.commands.distill import WORDS
    from compact_labse.configuration import read_config

    files = sorted(pipeline_folder("distill").glob("*.yaml"))
    assert len(files) >= 3
    for file in files:
        kind = load_pipeline("distill", "student").DistillConfig
        given = ["--config", str(file), "--data", "x", "--out", "y", "--teacher", "minilm"]
        given += ["--student.start", str(tmp_path)] if file.stem.endswith(("hard", "alike", "heal")) else []
        assert read_config(given, kind, WORDS).batch >= 2, file


def test_healing_by_file_is_healing_by_the_pipelines(tmp_path):
    from compact_labse.commands.distill import WORDS
    from compact_labse.configuration import read_config

    file, made = pipeline_folder("distill") / "heal.yaml", []
    (tmp_path / "text.txt").write_text("one")
    given = ["--config", str(file), "--student.start", str(tmp_path), "--texts", str(tmp_path / "text.txt")]
    read = read_config(
        [*given, "--out", "y", "--teacher", "t"], load_pipeline("distill", "student").DistillConfig, WORDS
    )
    gradual = load_pipeline("distill", "gradual")
    pipeline = SimpleNamespace(run=made.append, DistillConfig=load_pipeline("distill", "student").DistillConfig)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradual, "load_pipeline", lambda *_: pipeline)
        gradual.heal(str(tmp_path), "t", [str(tmp_path / "text.txt")], Path("y"), gradual.healing(10))
    assert asdict(read) == asdict(made[0])


@pytest.mark.parametrize("document", ["README.md", "distill/README.md", "export/compression.md", "distill", "prune"])
def test_documented_commands_are_complete(document, tiny, monkeypatch):
    """A documented line may name files that do not exist, but no setting and no configuration that does not."""
    from compact_labse.commands import prune
    from compact_labse.commands.distill import DESCRIPTION, WORDS, _whole_model
    from compact_labse.configuration import read_config

    monkeypatch.chdir(ROOT)
    texts = {"distill": DESCRIPTION, "prune": prune.EXAMPLE}
    text = texts.get(document) or (ROOT / document).read_text(encoding="utf-8")
    lines = re.findall(r"^ *compact-labse distill (.*)$", text.replace("\\\n", " "), flags=re.M)
    assert lines
    for line in lines:
        given = shlex.split(re.sub(r"--student \S+", f"--student {tiny('minilm')}", line), comments=True)
        assert read_config(_whole_model(given), load_pipeline("distill", "student").DistillConfig, WORDS).batch, line


def test_help_and_mistakes_do_not_wait_for_torch():
    """jsonargparse evaluates `if TYPE_CHECKING:` blocks of a configuration's module: torch came in by one of them."""
    run = "from compact_labse.cli import main; main(['distill', *sys.argv[1:]])"
    code = f"import sys; {run}; print('torch' in sys.modules)"
    for given in (["--help"], ["--print_config"], ["--batch", "x"], ["--out", "x"]):
        command = [sys.executable, "-c", code, *given]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False", given


def test_sentences_without_translation_learn_from_the_teacher(folder, tiny):
    """English text alone, and as an addition to pairs, where nothing of it is held out or counted as a language."""
    from tests.tiny_pairs import sentences

    text = folder / "english.txt"
    text.write_text("".join(f"{' '.join(row)}\n" for row in sentences(200, seed=3)), encoding="utf-8")
    assert main([*words(folder, tiny("minilm"), "both", loop__steps=5), "--texts", str(text)]) == 0
    manifest = json.loads((folder / "both.work/pairs/manifest.json").read_text())
    assert manifest["facts"]["languages"]["alone"] > 100
    alone = words(folder, tiny("minilm"), "alone", loop__steps=5, objectives__ranking=0)
    place = alone.index("--data")
    assert main([*alone[:place], "--texts", str(text), *alone[place + 2 :]]) == 0
    assert load(folder / "alone").encode(["the cat"]).shape == (1, 16)


def test_no_corpus_at_all_is_a_user_error(folder, capsys):
    assert main(["distill", "--out", str(folder / "x"), "--objectives.regression", "0"]) == 2
    assert "give --data (or --texts)" in capsys.readouterr().err


def test_overwriting_gives_up_the_checkpoint_of_other_settings(folder):
    out = folder / "again"
    assert main(words(folder, None, "again")) == 0
    changed = [*words(folder, None, "again"), "--loop.seed", "7", "--overwrite", "true"]
    before = (out / "model.safetensors").read_bytes()
    assert main(changed) == 0
    assert (out / "model.safetensors").read_bytes() != before
