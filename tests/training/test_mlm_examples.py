"""Masked examples in files: what BERT's recipe promises, our own reader, TensorFlow's, and Model Garden's."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_labse.cli import main
from compact_labse.corpus.tfexample import example, frame, numbers, packed, unpacked
from compact_labse.corpus.tfrecord import frames
from compact_labse.errors import UserError
from compact_labse.training.mlm_examples import Document, ExamplesConfig, examples
from compact_labse.training.mlm_files import read_documents
from tests.tiny_models import TEXT, wordpiece, write_json

TOKENIZER = wordpiece()
FIRST, LAST, MASKED = 2, 3, 4
CONFIG = ExamplesConfig(max_seq_length=24, max_predictions_per_seq=5, dupe_factor=3, random_seed=7)


@given(st.lists(st.integers(0, 2**62)))
def test_varints_come_back(values):
    assert unpacked(packed(np.array(values, np.int64))).tolist() == values


def test_varints_and_messages_are_those_of_the_wire_format():
    assert packed(np.array([0, 1, 127, 128, 300])) == b"\x00\x01\x7f\x80\x01\xac\x02"
    with pytest.raises(ValueError, match="negative"):
        packed(np.array([-1]))
    # features { entry { key "a" value { int64_list { value [3] packed } } } }
    assert example({"a": np.array([3])}) == b"\x0a\x0c\x0a\x0a\x0a\x01a\x12\x05\x1a\x03\x0a\x01\x03"
    features = {"b": np.array([1.5, -2.0], np.float32), "a": np.array([5, 1 << 40])}
    data = frame(example(features))
    (read,) = frames(io.BytesIO(data * 1), "x")
    found = numbers(read)
    assert all(np.array_equal(found[name], features[name]) for name in features)
    damaged = bytearray(data)
    damaged[20] ^= 1
    with pytest.raises(UserError, match="wrong checksum"):
        list(frames(io.BytesIO(bytes(damaged)), "x"))


def documents(count: int = 40, pair: bool = False) -> list[Document]:
    """Documents whose sentences tell by their tokens which document they are of: 100 + its number."""
    random = np.random.default_rng(0)
    sizes = [(2 if pair else int(random.integers(1, 9))) for _ in range(count)]
    return [
        Document([np.full(int(random.integers(1, 15)), 100 + number) for _ in range(size)], pair)
        for number, size in enumerate(sizes)
    ]


def unmasked(found: dict[str, np.ndarray]) -> list[int]:
    ids = found["input_ids"][: found["input_mask"].sum()].copy()
    weights = found["masked_lm_weights"] > 0
    ids[found["masked_lm_positions"][weights]] = found["masked_lm_ids"][weights]
    return ids.tolist()


def test_rows_are_what_the_recipe_says():
    rows = list(examples(documents(), TOKENIZER, CONFIG))
    shapes = {"input_ids": 24, "input_mask": 24, "segment_ids": 24, "masked_lm_positions": 5, "masked_lm_ids": 5}
    elsewhere = 0
    for found in rows:
        assert {name: len(found[name]) for name in shapes} == shapes
        size, ids = int(found["input_mask"].sum()), unmasked(found)
        assert found["input_mask"].tolist() == [1] * size + [0] * (24 - size)
        assert not found["input_ids"][size:].any()
        assert (ids[0], ids[-1]) == (FIRST, LAST)
        split = ids.index(LAST)
        assert found["segment_ids"].tolist() == [0] * (split + 1) + [1] * (size - split - 1) + [0] * (24 - size)
        sides = set(ids[1:split]), set(ids[split + 1 : -1])
        assert len(sides[0]) == 1
        assert len(sides[1]) <= 1
        (label,) = found["next_sentence_labels"]
        assert label == (sides[1] not in (set(), sides[0])), "1 says that the second part is another document's"
        elsewhere += label
        count = int(found["masked_lm_weights"].sum())
        assert 1 <= count <= 5
        assert found["masked_lm_positions"][:count].tolist() == sorted(set(found["masked_lm_positions"][:count]))
        assert found["masked_lm_weights"].tolist() == [1.0] * count + [0.0] * (5 - count)
        assert not found["masked_lm_positions"][count:].any()
    assert 0.4 < elsewhere / len(rows) < 0.75
    assert np.mean([found["input_mask"].sum() for found in rows]) > 16, "rows are packed"


@pytest.mark.parametrize("most", [2, 5])
def test_whole_words_leave_no_row_without_a_mask(most):
    """Documents of one word of five pieces, which is more than the share and may be more than fits."""
    word = TOKENIZER.encode("restartedserver", add_special_tokens=False).ids[:5]
    assert len(word) == 5
    given = [Document([np.array(word), np.array(word[:0], np.int64)], True)] * 40
    config = ExamplesConfig(max_seq_length=24, max_predictions_per_seq=most, do_whole_word_mask=True)
    for found in examples(given, TOKENIZER, config):
        assert found["masked_lm_weights"].sum() >= 1


def test_every_sentence_is_used_in_every_round_and_masks_differ():
    config = ExamplesConfig(max_seq_length=512, max_predictions_per_seq=20, dupe_factor=2, short_seq_prob=0)
    found = list(examples(documents(12), TOKENIZER, config))
    tokens = [token for row in found for token in unmasked(row)[1:]]
    for number, document in enumerate(documents(12)):
        assert tokens.count(100 + number) >= 2 * sum(map(len, document.sentences))
    pairs = documents(30, pair=True)
    rows = [tuple(row["masked_lm_positions"]) for row in examples(pairs, TOKENIZER, CONFIG)]
    assert len(rows) == 90
    assert len(set(rows)) > 45


def test_a_pair_is_two_segments_of_one_row():
    for found in examples(documents(30, pair=True), TOKENIZER, CONFIG):
        assert found["next_sentence_labels"] == [0]
        ids = unmasked(found)
        assert ids.count(LAST) == 2
        assert len(set(ids)) == 3, "[CLS], [SEP] and the pair's own token"


def test_the_same_seed_gives_the_same_examples():
    one, same, other = (
        [example(row) for row in examples(documents(), TOKENIZER, config)]
        for config in (CONFIG, CONFIG, ExamplesConfig(max_seq_length=24, max_predictions_per_seq=5, dupe_factor=3))
    )
    assert one == same
    assert one != other


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer").mkdir()
    TOKENIZER.save(str(tmp_path / "tokenizer/tokenizer.json"))
    write_json(tmp_path / "tokenizer/tokenizer_config.json", {})
    (tmp_path / "wiki.txt").write_text("\n".join([*TEXT[:5], "", "", *TEXT[5:], ""]), encoding="utf-8")
    (tmp_path / "en-de.tsv").write_text(f"{TEXT[0]}\t{TEXT[2]}\n{TEXT[1]}\t{TEXT[3]}\n", encoding="utf-8")
    return tmp_path


def words(files: Path, out: str, *more: str) -> list[str]:
    inputs = [str(files / "wiki.txt"), str(files / "en-de.tsv")]
    return ["data", "mlm", *inputs, "--tokenizer", str(files / "tokenizer"), "--out", str(files / out), *more]


SMALL = ["--max_seq_length", "32", "--max-predictions-per-seq", "6", "--dupe-factor", "4"]


def test_documents_are_lines_with_empty_lines_between_and_pairs_are_records(files):
    found = read_documents([str(files / "wiki.txt"), str(files / "en-de.tsv")], TOKENIZER)
    shapes = [(len(document.sentences), document.pair) for document in found]
    assert shapes == [(5, False), (9, False), (2, True), (2, True)]
    expected = TOKENIZER.encode(TEXT[2], add_special_tokens=False).ids
    assert found[2].sentences[1].tolist() == expected


def test_both_formats_hold_the_same_and_our_reader_reads_them(files, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(words(files, "x.tfrecord.gz", *SMALL)) == 0
    assert "examples of 4 documents written to" in capsys.readouterr().err
    assert main(words(files, "x.parquet", *SMALL)) == 0
    import gzip

    found = [numbers(data) for data in frames(gzip.open(files / "x.tfrecord.gz"), "x")]
    rows = parquet.read_table(files / "x.parquet").to_pylist()
    assert len(found) == len(rows) > 10
    for one, other in zip(found, rows, strict=True):
        assert {name: values.tolist() for name, values in one.items()} == other
    assert any(MASKED in row["input_ids"] for row in rows)


def test_settings_have_the_names_of_berts_tool(files):
    """By which its users know them."""
    given, names = [*SMALL, "--random_seed", "3"], ("--do_whole_word_mask", "--do-whole-word-mask")
    for name in names:
        assert main(words(files, f"{name}.tfrecord", *given, name)) == 0
    assert main(words(files, "x.tfrecord", *given)) == 0
    one, other = ((files / f"{name}.tfrecord").read_bytes() for name in names)
    assert one == other != (files / "x.tfrecord").read_bytes()


def test_examples_that_are_there_are_kept_unless_told_otherwise(files, capsys):
    (files / "x.tfrecord").write_bytes(b"days of work")
    assert main(words(files, "x.tfrecord", *SMALL)) == 2
    assert "x.tfrecord exists; choose another name or allow overwriting it (--overwrite)" in capsys.readouterr().err
    assert (files / "x.tfrecord").read_bytes() == b"days of work"
    assert main(words(files, "x.tfrecord", *SMALL, "--overwrite")) == 0
    assert len(list(frames(open(files / "x.tfrecord", "rb"), "x"))) > 10


def test_tensorflow_reads_the_file(files):
    tf = pytest.importorskip("tensorflow")
    assert main(words(files, "x.tfrecord", *SMALL)) == 0
    shapes = dict.fromkeys(("input_ids", "input_mask", "segment_ids"), 32)
    shapes |= {"masked_lm_positions": 6, "masked_lm_ids": 6, "next_sentence_labels": 1}
    spec = {name: tf.io.FixedLenFeature([size], tf.int64) for name, size in shapes.items()}
    spec["masked_lm_weights"] = tf.io.FixedLenFeature([6], tf.float32)
    ours = [numbers(data) for data in frames(open(files / "x.tfrecord", "rb"), "x")]
    read = [tf.io.parse_single_example(data, spec) for data in tf.data.TFRecordDataset(str(files / "x.tfrecord"))]
    assert len(read) == len(ours) > 10
    for theirs, own in zip(read, ours, strict=True):
        assert all(np.array_equal(theirs[name].numpy(), own[name]) for name in spec)


GARDEN = """
import json, sys
from official.nlp.data import pretrain_dataloader as reader
config = reader.BertPretrainDataConfig(input_path=sys.argv[1], global_batch_size=4, is_training=False,
    seq_length=32, max_predictions_per_seq=6, drop_remainder=False)
found = [{name: value.numpy().tolist() for name, value in batch.items()}
    for batch in reader.BertPretrainDataLoader(config).load()]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_model_gardens_reader_reads_the_file(files):
    """`BertPretrainDataLoader` of tf-models-official, in the environment whose python COMPACT_LABSE_TFM names."""
    python = os.environ.get("COMPACT_LABSE_TFM", "")
    if not python or not Path(python).is_file():
        pytest.skip("needs the python of an environment with tf-models-official in COMPACT_LABSE_TFM")
    assert main(words(files, "x.tfrecord", *SMALL)) == 0
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": ""}
    command = [python, "-c", GARDEN, str(files / "x.tfrecord")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    batches = json.loads(done.stdout.splitlines()[-1])
    renamed = {"input_word_ids": "input_ids", "input_type_ids": "segment_ids"}
    ours = [numbers(data) for data in frames(open(files / "x.tfrecord", "rb"), "x")]
    assert sum(len(batch["input_mask"]) for batch in batches) == len(ours) > 10
    theirs = [
        {name: batch[name][row] for name in batch} for batch in batches for row in range(len(batch["input_mask"]))
    ]
    assert set(theirs[0]) >= {"input_word_ids", "masked_lm_weights", "next_sentence_labels"}
    for one, other in zip(theirs, ours, strict=True):
        assert all(np.array_equal(value, other[renamed.get(name, name)]) for name, value in one.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--out", "x.txt"], "--out x.txt: write .tfrecord"),
        (["--out", "x.parquet.gz"], "--out x.parquet.gz: write .tfrecord"),
        (["--max-seq-length", "4"], "must be at least 8"),
        (["--masked-lm-prob", "1.5"], "are shares between 0 and 1"),
        (["--dupe-factor", "0"], "must be at least 1"),
        (["--tokenizer", "none"], "No tokenizer in none"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_file(files, capsys, monkeypatch, change, message):
    monkeypatch.chdir(files)
    before = set(files.iterdir())
    assert main([*words(files, "x.tfrecord"), *change]) == 2
    assert message in capsys.readouterr().err
    assert set(files.iterdir()) == before
