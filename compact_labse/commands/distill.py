"""`compact-labse distill`: train a small student from a teacher and text."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.configuration import Words, read_config
from compact_labse.errors import require
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

DESCRIPTION = """Train a small student from a teacher and sentence pairs.

example:
  compact-labse distill --teacher minilm --data pairs/ --out student --loop.steps 2000

`pairs/` holds files such as en-de.tsv.gz (English<TAB>German; the name tells the language). Files with a header, or
more columns: --corpus.columns english,german. An interrupted run goes on when the same command is given again. Settings
can also come from YAML files, later words winning over earlier ones; `key=value` is `--key value`:
  compact-labse distill --config distill/static.yaml --data pairs/ --out student batch=4096
"""

WORDS = Words(
    command="distill",
    usage="compact-labse distill --teacher NAME --data PATH... --out DIR [--config FILE] [--SETTING VALUE ...]",
    description=DESCRIPTION,
)


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    require("jsonargparse", "train")
    pipeline = load_pipeline("distill", "student")
    config = read_config(words, pipeline.DistillConfig, WORDS)
    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    try:
        pipeline.run(config)
    except KeyboardInterrupt:
        say("interrupted; give the same command again to go on from here")
        raise
    return 0
