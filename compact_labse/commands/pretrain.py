"""`compact-labse pretrain`: masked and translation language modelling, from scratch or from a BERT-like folder."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.configuration import Words, read_config
from compact_labse.errors import require
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

DESCRIPTION = """Pretrain a transformer on text: guess masked tokens of sentences (MLM) and of translation pairs (TLM).

example:
  compact-labse pretrain --data pairs/ --texts news.txt.gz --out bert --config distill/teacher/mini-6x384.yaml \\
      stacking=[2000,4000] loop.steps=10000

The folder opens with transformers' AutoModelForMaskedLM, and `compact-labse train --model bert` makes a sentence
encoder of it. An interrupted run goes on when the same command is given again. Later words win over earlier ones and
`key=value` is `--key value`.
"""

WORDS = Words(
    command="pretrain",
    usage="compact-labse pretrain --data PATH... [--texts PATH...] --out DIR [--config FILE] [--SETTING VALUE ...]",
    description=DESCRIPTION,
)


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    require("jsonargparse", "train")
    pipeline = load_pipeline("distill", "teacher/pretrain")
    config = read_config(words, pipeline.PretrainConfig, WORDS)
    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    try:
        pipeline.run(config)
    except KeyboardInterrupt:
        say("interrupted; give the same command again to go on from here")
        raise
    return 0
