"""`compact-labse train`: train a teacher on sentence pairs, with negatives from all accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.configuration import COLUMNS, Words, run_training

DESCRIPTION = """Train a dual encoder (a teacher) on sentence pairs: each sentence finds its translation among all of
the batch, which may be spread over several processes and need not fit in memory at once.

examples:
  compact-labse train --config distill/teacher/mini-6x384.yaml --data pairs/ --out teacher loop.optimizer.lr=5e-4 \\
      loop.optimizer.table_lr=5e-3
  compact-labse train --config distill/teacher/labse-base.yaml --model pretrained --data pairs/ --out teacher
  torchrun --nproc-per-node 4 --max-restarts 3 -m compact_labse train --data pairs/ --out teacher

`pairs/` holds files such as en-de.tsv.gz (English<TAB>German; the name tells the language). An interrupted run goes on
when the same command is given again. Settings can also come from YAML files, later words winning over earlier ones;
`key=value` is `--key value`.
"""

WORDS = Words(
    command="train",
    usage="compact-labse train --data PATH... --out DIR [--model DIR] [--config FILE] [--SETTING VALUE ...]",
    description=DESCRIPTION,
    lists=("--data", "--stream", COLUMNS, "--corpus.avoid"),
    hidden=("corpus.companions", "student.compose", "student.keep", "student.bits", "student.fixed_ranges"),
    help={
        "student.kind": '"bert", or "electra" (BERT with a table narrower than the model).',
        "student.start": 'Where the first weights come from: "random", or the folder of a trained static student, '
        "whose table is copied while the layers start as the identity.",
        "vocabulary.kind": '"unigram" (fits languages without spaces) or "wordpiece".',
    },
    choices={"student.kind": ("bert", "electra"), "vocabulary.kind": ("unigram", "wordpiece")},
    new_model=("student", "vocabulary"),
)


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    return run_training(words, "teacher/train", "TrainConfig", WORDS)
