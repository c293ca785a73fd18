"""`compact-labse distill`: train a small student from a teacher and text."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.configuration import Words, run_training
from compact_labse.errors import UserError

DESCRIPTION = """Train a small student from a teacher and sentence pairs.

example:
  compact-labse distill --teacher minilm --data pairs/ --out student --loop.steps 2000
  compact-labse distill --config distill/heal.yaml --student pruned --teacher minilm --texts texts.txt --out healed

`pairs/` holds files such as en-de.tsv.gz (English<TAB>German; the name tells the language). Files with a header, or
more columns: --corpus.columns english,german. An interrupted run goes on when the same command is given again. Settings
can also come from YAML files, later words winning over earlier ones; `key=value` is `--key value`:
  compact-labse distill --teacher minilm --config distill/static.yaml --data pairs/ --out student batch=4096
"""

WORDS = Words(
    command="distill",
    usage="compact-labse distill --teacher NAME --data PATH... --out DIR [--config FILE] [--SETTING VALUE ...]",
    description=DESCRIPTION,
    help={"student": "Name or folder of a model to train further, instead of a new one; it needs a modules.json."},
)


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    return run_training(_whole_model(list(words)), "student", "DistillConfig", WORDS)


def _whole_model(words: list[str]) -> list[str]:
    """`--student NAME` in the words of the configuration: the model of that name or folder is trained further."""
    from compact_labse.compress.model_files import model_folder

    for place, word in enumerate(words):
        name, given, value = word.partition("=")
        if name != "--student":
            continue
        model = value if given else words[place + 1] if place + 1 < len(words) else ""
        folder = model_folder(model) if model else None
        if folder is None or not (folder / "modules.json").is_file():
            raise UserError(
                f"--student takes the name or folder of a model (with modules.json) to train further, got {model!r}"
            )
        if any(other.lstrip("-").startswith(("student.start", "student.kind")) for other in words):
            raise UserError("--student says what is trained: leave out student.start and student.kind")
        found = ["--student.kind", "folder", "--student.start", str(folder)]
        return [*words[:place], *found, *words[place + (1 if given else 2) :]]
    return words
