"""The ablation end to end on a made-up corpus: every arm, what is skipped, what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")

from compact_labse.configuration import read_config
from compact_labse.errors import UserError
from compact_labse.pipelines import load_pipeline, pipeline_folder
from tests.tiny_pairs import GERMAN, RUSSIAN, sentences, write_corpus

ablation = load_pipeline("distill", "teacher/ablation")
FILE = pipeline_folder("distill") / "teacher/ablation.yaml"
MICRO = [
    "batch=16", "pretrain_steps=2", "pretrain_batch=8", "student.dim=16", "student.layers=1", "student.heads=2",
    "student.ffn=16", "vocabulary.size=200", "vocabulary.texts=1000", "loop.steps=3", "corpus.heldout=5",
]  # fmt: skip


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A corpus, and evaluation data of two languages that stand for the sets of Tatoeba and PUD."""
    write_corpus(tmp_path / "corpus", 100)
    (tmp_path / "eval/tatoeba").mkdir(parents=True)
    (tmp_path / "eval/pud").mkdir()
    rows = sentences(40, seed=9)
    english = [" ".join(row) for row in rows]
    for code, other in (("deu", GERMAN), ("rus", RUSSIAN)):
        lines = [f"{' '.join(other[part] for part in row)}\t{text}\n" for row, text in zip(rows, english, strict=True)]
        (tmp_path / f"eval/tatoeba/eng-{code}.tsv").write_text("".join(lines))
    for code, texts in (("en", english), ("de", [" ".join(GERMAN[part] for part in row) for row in rows])):
        (tmp_path / f"eval/pud/{code}.tsv").write_text("".join(f"{n}\t{text}\n" for n, text in enumerate(texts)))
    monkeypatch.setitem(load_sets(), "36", ("deu", "rus"))
    monkeypatch.setattr("compact_labse.measure.arms.COLUMNS", (("tatoeba", "36"), ("pud", "all")))
    return tmp_path


def load_sets():
    from compact_labse.measure.quality import datasets

    return datasets.TATOEBA_SETS


def config(given: Path, *more: str):
    words = ["--config", str(FILE), "--data", str(given / "corpus"), "--evaluation", str(given / "eval")]
    return read_config([*words, "--out", str(given / "out"), *MICRO, *more], ablation.AblationConfig, ablation.WORDS)


def test_every_arm_changes_what_it_says(given):
    cfg = config(given)
    base = ablation.train_config(cfg, "base", 0, None)
    assert (base.margin, base.batch, base.local, base.model) == (0.3, 16, 0, None)
    assert ablation.train_config(cfg, "margin-0", 0, None).margin == 0
    assert ablation.train_config(cfg, "local", 0, None).local == 4
    assert ablation.train_config(cfg, "batch-quarter", 0, None).batch == 4
    long = ablation.train_config(cfg, "batch-quarter-long", 0, None)
    assert long.batch * long.loop.steps == cfg.batch * cfg.loop.steps
    assert ablation.train_config(cfg, "pretrained", 2, Path("x")).model == "x"
    assert ablation.train_config(cfg, "base", 2, None).loop.seed == 2
    assert (
        ablation.pretrain_config(cfg, "pretrained", 0).tlm,
        ablation.pretrain_config(cfg, "pretrained-mlm", 0).tlm,
    ) == (0.5, 0)
    assert base.corpus.avoid == [str(given / "eval/tatoeba"), str(given / "eval/pud")]


def test_runs_are_made_once_and_compared(given, monkeypatch, capsys):
    cfg = config(given, "seeds=[0,1]", "arms=[base,pretrained]")
    text = ablation.run(cfg).read_text()
    said = capsys.readouterr().err
    assert said.count("pairs: making it") == said.count("vocabulary: making it") == 1, "all runs share the corpus"
    assert "evaluation sentence" in said
    assert (given / "out/results.jsonl").read_text().count('"kind": "quality"') == 2 * 2 * 2
    lines = text.splitlines()
    assert lines[0].count("|") == lines[2].count("|") == 7
    assert [line.split(":")[0] for line in lines[2:]] == ["| base", "| pretrained"]
    assert "±" in lines[3]
    assert "(+" in lines[3] or "(-" in lines[3]
    assert not list((given / "out").glob("*.work"))

    def never(*given, **named):
        raise AssertionError("trained again")

    monkeypatch.setattr(load_pipeline("distill", "teacher/train"), "run", never)
    assert ablation.run(cfg).read_text() == text
    with pytest.raises(UserError, match="base-0 was made with other settings"):
        ablation.run(config(given, "margin=0.1"))


@pytest.mark.slow
def test_four_processes_make_the_run_that_one_makes(given):
    """Local negatives over 4 gloo ranks, and in one process that looks at a quarter of the batch at a time."""
    import numpy as np

    from compact_labse import load

    texts = [" ".join(row) for row in sentences(10, seed=1)]
    vectors = []
    for name, ranks in (("one", 1), ("four", 4)):
        cfg = config(given, f"ranks={ranks}", "seeds=[0]", "arms=[local]", f"out={given / name}", "student.dropout=0.0")
        ablation.run(cfg)
        vectors.append(load(given / name / "local-0").encode(texts))
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("arms=[margin]", "known arms: base"),
        ("batch=24", "must be a multiple of 4 x shards"),
        ("loop.steps=null", "loop.steps is needed|how long to train"),
        ("evaluation=none", "give --data"),
    ],
)
def test_mistakes_are_sentences(given, change, message):
    with pytest.raises(UserError, match=message):
        config(given, change)


def test_the_script_says_mistakes_in_a_sentence(capsys):
    assert ablation.main(["--out", "x", "arms=[margin]"]) == 2
    assert capsys.readouterr().err.startswith("error: arms and seeds must not be empty; known arms: base")
