"""`compact-labse pretrain`: masked and translation language modelling, from scratch or from a BERT-like folder."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.configuration import Words, run_training

DESCRIPTION = """Pretrain a transformer on text: guess masked tokens of sentences (MLM) and of translation pairs (TLM).

example:
  compact-labse pretrain --data pairs/ --texts news.txt.gz --out bert --config distill/teacher/mini-6x384.yaml \\
      stacking=[4000] loop.steps=10000

The folder opens with transformers' AutoModelForMaskedLM, and `compact-labse train --model bert --pooling mean`
makes a sentence encoder of it. An interrupted run goes on when the same command is given again. Later words win over
earlier ones and `key=value` is `--key value`.
"""

WORDS = Words(
    command="pretrain",
    usage="compact-labse pretrain --data PATH... [--texts PATH...] --out DIR [--config FILE] [--SETTING VALUE ...]",
    description=DESCRIPTION,
    hidden=(
        "corpus.companions",
        "student.compose",
        "student.keep",
        "student.bits",
        "student.fixed_ranges",
        "student.start",
    ),
    help={
        "student.kind": '"bert", or "electra" (BERT with a table narrower than the model).',
        "vocabulary.kind": '"unigram" (fits languages without spaces) or "wordpiece".',
    },
    choices={"student.kind": ("bert", "electra"), "vocabulary.kind": ("unigram", "wordpiece")},
    new_model=("student", "vocabulary"),
)


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    return run_training(words, "teacher/pretrain", "PretrainConfig", WORDS)
