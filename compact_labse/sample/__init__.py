"""The text inside the package: the same 240 sentences in every language, line by line, for trying things out offline.

Too small to judge a model by; the README beside this file says what the sentences are, and their licence (CC0).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from compact_labse.errors import UserError
from compact_labse.writing import writing_file

# The styles take turns from line to line, so every part holds all of them.
SPLITS = {"train": slice(0, 160), "calibration": slice(160, 200), "test": slice(200, 240)}

_CODES = {Path(entry.name).stem for entry in files(__name__).iterdir() if entry.name.endswith(".txt")}
LANGUAGES = ["en", *sorted(_CODES - {"en"})]


def sentences(language: str, split: str | None = None) -> list[str]:
    """The 240 sentences of a language, or those of one part: "train" (160), "calibration" (40) or "test" (40).

    Line i means the same in every language. Raises UserError for a language or part that does not exist.
    """
    if language not in LANGUAGES:
        raise UserError(f"no sample text in the language {language!r}; there is: {', '.join(LANGUAGES)}")
    if split is not None and split not in SPLITS:
        raise UserError(f"the sample text has no part {split!r}; there is: {', '.join(SPLITS)}")
    lines = _lines(language)
    return list(lines if split is None else lines[SPLITS[split]])


def parallel(split: str | None = None) -> dict[str, list[str]]:
    """The sentences of every language, English first."""
    return {language: sentences(language, split) for language in LANGUAGES}


def write_tsv(folder: str | Path, split: str = "train") -> list[Path]:
    """Write `en-xx.tsv` for every language xx but English, lines of `English<TAB>translation`; returns the paths.

    The folder is made when it is missing; files of the same name are replaced.
    """
    english = sentences("en", split)
    paths = []
    for language in LANGUAGES[1:]:
        rows = zip(english, sentences(language, split), strict=True)
        path = Path(folder) / f"en-{language}.tsv"
        with writing_file(path) as temporary:
            temporary.write_text("".join(f"{source}\t{target}\n" for source, target in rows), "utf-8", newline="\n")
        paths.append(path)
    return paths


@cache
def _lines(language: str) -> tuple[str, ...]:
    text = files(__name__).joinpath(f"{language}.txt").read_text(encoding="utf-8")
    return tuple(text.removesuffix("\n").split("\n"))
