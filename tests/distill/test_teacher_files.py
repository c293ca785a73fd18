"""The experiments as files: each is valid, and LaBSE's holds the released values one by one."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("jsonargparse")

import torch

from compact_labse import sample
from compact_labse.commands import pretrain, train
from compact_labse.configuration import read_config
from compact_labse.pipelines import load_pipeline, pipeline_folder

FOLDER = pipeline_folder("distill") / "teacher"
TRAIN = load_pipeline("distill", "teacher/train").TrainConfig
PRETRAIN = load_pipeline("distill", "teacher/pretrain").PretrainConfig
FOR_TRAIN_ALONE = ("labse-base", "grown-2x528")
GIVEN = ["--data", "x", "--out", "y"]


def read(*names: str, kind=TRAIN, words=train.WORDS, more=()):
    files = [word for name in names for word in ("--config", str(FOLDER / f"{name}.yaml"))]
    return read_config([*files, *GIVEN, *more], kind, words)


def test_every_file_is_valid_and_named_here():
    names = {file.stem for file in FOLDER.glob("*.yaml")} - {"ablation"}
    assert names == {"labse-base", "labse-bert-base", "mini-6x384", "micro", "grown-2x528"}
    for name in names:
        read(name)
        if name not in FOR_TRAIN_ALONE:
            read(name, kind=PRETRAIN, words=pretrain.WORDS)


def test_the_smallest_vocabulary_has_room_for_the_embedded_sample():
    """A Unigram needs a piece per character; a slow test trains it."""
    characters = {character for texts in sample.parallel().values() for text in texts for character in text}
    assert read("micro").vocabulary.size > len(characters) + 5


@pytest.fixture(scope="module")
def labse():
    """What the published trainer reads from two files: --config_file=labse_bert_base --config_file=labse_base."""
    return read("labse-bert-base", "labse-base")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("max_tokens", 32),
        ("batch", 4096),
        ("scale", 100),
        ("margin", 0.3),
        ("pooling", "pooler"),
        ("local", 0),
        ("corpus.heldout", round(32_000 / 109)),  # per language
        ("loop.steps", 500_000),
        ("loop.eval_every", 1000),
        ("loop.checkpoint_every", 1000),
        ("loop.optimizer.lr", 1e-4),
        ("loop.optimizer.table_lr", 1e-4),
        ("loop.optimizer.weight_decay", 0),
        ("loop.optimizer.eps", 1e-5),
        ("loop.optimizer.betas", (0.9, 0.999)),
        ("loop.optimizer.clip", 100),
        ("loop.optimizer.warmup", 5000),
        ("loop.optimizer.decay", "polynomial"),
        ("loop.optimizer.power", 1),
        ("loop.optimizer.final", 0),
        ("student.layers", 12),
        ("student.dim", 768),
        ("student.ffn", 3072),
        ("student.heads", 12),
        ("student.max_tokens", 512),
        ("student.dropout", 0.1),
        ("vocabulary.kind", "wordpiece"),
        ("vocabulary.size", 501_153),
        ("vocabulary.lowercase", False),
    ],
)
def test_labse_has_the_released_values(labse, path, value):
    found = labse
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_labses_model_has_its_parameters(labse):
    """470,926,848 with the pooler; GELU and two types are transformers' defaults, which the file relies on."""
    from transformers import BertConfig, BertModel

    from compact_labse.students.transformer import shape_of

    config = BertConfig(**shape_of(labse.student, labse.vocabulary.size, 0))
    assert (config.hidden_act, config.type_vocab_size, config.initializer_range) == ("gelu", 2, 0.02)
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    with torch.device("meta"):
        model = BertModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 470_926_848


def test_labses_learning_rate_rises_and_falls_as_tensorflows(labse):
    from compact_labse.training.schedule import rate

    rates = [1e-4 * rate(step, 500_000, labse.loop.optimizer) for step in (0, 4999, 5000, 250_000, 499_999)]
    assert rates[0] < 1e-7
    assert rates[2] == pytest.approx(1e-4 * (1 - 5000 / 500_000), rel=1e-3)
    assert rates[3] == pytest.approx(0.5e-4)
    assert rates[4] == pytest.approx(2e-10)
    assert max(rates) == rates[2]


def test_words_override_files_for_all_three_commands():
    from compact_labse.commands.distill import WORDS

    found = read("labse-bert-base", "labse-base", "mini-6x384", more=["batch=64", "--loop.steps", "7"])
    assert (found.batch, found.loop.steps, found.student.dim, found.margin) == (64, 7, 384, 0.3)
    again = read("micro", kind=PRETRAIN, words=pretrain.WORDS, more=["stacking=[3]", "masking.whole_words=true"])
    assert (again.stacking, again.masking.whole_words, again.student.dim) == ([3], True, 32)
    kind = load_pipeline("distill", "student").DistillConfig
    files = ["--config", str(FOLDER.parent / "static.yaml"), *GIVEN, "--teacher", "minilm", "batch=8"]
    assert read_config(files, kind, WORDS).batch == 8
