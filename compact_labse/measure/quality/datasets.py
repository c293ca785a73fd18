"""Readers of evaluation data: Tatoeba, PUD, STS, parallel TSV files, and the text embedded in the package.

Every reader returns `{language: columns}` in file order. Evaluation text is never skipped silently: the first bad line
is an error with file and line number, because a figure over 998 of 1,000 sentences cannot be compared with anyone's.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compact_labse.errors import UserError
from compact_labse.measure.quality.languages import TATOEBA_SETS

Pairs = dict[str, tuple[list[str], list[str]]]
ScoredPairs = dict[str, tuple[list[str], list[str], list[float]]]

SAMPLE = "sample"


@dataclass(frozen=True, kw_only=True)
class Parallel:
    """Sentences with their English translation, per language: a retrieval task."""

    name: str
    pairs: Pairs


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Sentence pairs of one language with a human score of their similarity."""

    name: str
    pairs: ScoredPairs


Dataset = Parallel | Similarity


def find(data: Path | None, tatoeba_set: str = "36") -> list[Dataset]:
    """What there is to evaluate on in `data`: `tatoeba/`, `pud/`, `sts/` (or these in `eval/`), or `en-xx.tsv` files.

    `data` may also be one of these three folders itself, or `hf:name[:config][:split]`, a Hugging Face dataset. None is
    the text embedded in the package. UserError when there is nothing.
    """
    if data is None:
        return [Parallel(name=SAMPLE, pairs=embedded_sample())]
    if str(data).startswith("hf:"):
        from compact_labse.measure.quality.hub_data import hub_data

        return hub_data(str(data))
    if not data.is_dir():
        raise UserError(f"--data {data} is not a folder; give a folder with tatoeba/, pud/ or sts/, or en-xx.tsv files")
    root = data / "eval" if (data / "eval").is_dir() else data
    places = {name: root if root.name == name else root / name for name in ("tatoeba", "pud", "sts")}
    found: list[Dataset] = []
    if places["tatoeba"].is_dir():
        found.append(Parallel(name="tatoeba", pairs=tatoeba(places["tatoeba"], TATOEBA_SETS[tatoeba_set])))
    if places["pud"].is_dir():
        found.append(Parallel(name="pud", pairs=pud(places["pud"])))
    if places["sts"].is_dir():
        found.append(Similarity(name="sts", pairs=sts(places["sts"])))
    return found or [Parallel(name=root.resolve().name, pairs=parallel(root))]


def tatoeba(folder: Path, languages: Sequence[str] | None = None) -> Pairs:
    """LASER's Tatoeba files `eng-xxx.tsv[.gz]`, lines `xxx<TAB>eng`; by default all languages that are there."""
    files = _files(folder, "eng-*.tsv*")
    missing = [code for code in languages or () if code not in files]
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(languages or ())} languages of the set have no eng-xxx.tsv.gz: "
            f"{', '.join(missing[:8])}; complete the folder or choose a smaller --tatoeba-set"
        )
    wanted = languages or sorted(files)
    return {code: _two_columns(files[code]) for code in wanted}


def pud(folder: Path) -> Pairs:
    """Parallel Universal Dependencies, `xx.tsv[.gz]` with lines `id<TAB>sentence`, joined with English by id."""
    files = _files(folder, "*.tsv*")
    if "en" not in files:
        raise UserError(f"{folder} has no en.tsv.gz, which the other languages are joined with")
    english = _by_id(files["en"])
    pairs = {}
    for code in (code for code in files if code != "en"):
        sentences = _by_id(files[code])
        shared = [key for key in sentences if key in english]
        if not shared:
            raise UserError(f"{files[code]} shares no sentence id with {files['en'].name}")
        pairs[code] = ([sentences[key] for key in shared], [english[key] for key in shared])
    if not pairs:
        raise UserError(f"{folder} has only English; retrieval needs a second language")
    return pairs


def sts(folder: Path) -> ScoredPairs:
    """STS files `xx-dev.tsv[.gz]`, lines `sentence<TAB>sentence<TAB>score`."""
    triples: ScoredPairs = {}
    for name, file in _files(folder, "*.tsv*").items():
        columns = [_scored(file, number, line) for number, line in _lines(file)]
        if len(columns) < 2:
            raise UserError(f"{file}: a correlation needs at least 2 pairs, got {len(columns)}")
        first, second, scores = zip(*columns, strict=True)
        triples[name.removesuffix("-dev").removesuffix("-test")] = (list(first), list(second), list(scores))
    return triples


def parallel(folder: Path) -> Pairs:
    """Parallel files `en-xx.tsv[.gz]`, lines `English<TAB>other`: the layout of training text."""
    files = _files(folder, "en-*.tsv*", what="tatoeba/, pud/, sts/ or en-xx.tsv[.gz] files")
    pairs = {}
    for code, file in files.items():
        english, other = _two_columns(file)
        pairs[code] = (other, english)
    return pairs


def embedded_sample() -> Pairs:
    """The test part of the multi-parallel text that the package carries, every language against English."""
    from compact_labse import sample

    texts = sample.parallel("test")
    return {code: (list(sentences), list(texts["en"])) for code, sentences in texts.items() if code != "en"}


def digest(dataset: Dataset) -> str:
    """16 hex digits over every text and score, so that a result says what it was measured on."""
    found = hashlib.sha256(dataset.name.encode())
    for code, columns in sorted(dataset.pairs.items()):
        found.update(f"\0{code}\0{columns!r}".encode("utf-8", "surrogatepass"))
    return found.hexdigest()[:16]


def mixed_texts(datasets: Sequence[Dataset], count: int) -> list[str]:
    """`count` different sentences taken in turn from all languages of all data sets, English included; always the same.

    Fewer when there are not as many.
    """
    columns = [side for found in datasets for code in sorted(found.pairs) for side in found.pairs[code][:2]]
    turns = (column[row] for row in range(max(map(len, columns))) for column in columns if row < len(column))
    return list(dict.fromkeys(turns))[:count]


def _files(folder: Path, pattern: str, what: str | None = None) -> dict[str, Path]:
    """Files by the part of their name that varies: `eng-deu.tsv.gz` is `deu`, `de-dev.tsv` is `de-dev`."""
    paths = sorted(path for path in folder.glob(pattern) if path.name.endswith((".tsv", ".tsv.gz")))
    if not paths:
        raise UserError(f"{folder} has no {what or pattern.replace('*', 'xx', 1).replace('*', '[.gz]')}")
    prefix = pattern.partition("*")[0]
    return {path.name.split(".tsv")[0].removeprefix(prefix): path for path in paths}


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 ({error.reason} at byte {error.start})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{file} is damaged ({error}); get it again") from error


def _columns(file: Path, number: int, line: str, expected: int) -> list[str]:
    columns = line.split("\t")
    if len(columns) != expected or not all(columns):
        raise UserError(
            f"{file}, line {number}: expected {expected} tab-separated columns, none of them empty, "
            f"got {len(columns)}: {line!r:.80}"
        )
    return columns


def _two_columns(file: Path) -> tuple[list[str], list[str]]:
    rows = [_columns(file, number, line, 2) for number, line in _lines(file)]
    if not rows:
        raise UserError(f"{file} is empty")
    return [row[0] for row in rows], [row[1] for row in rows]


def _by_id(file: Path) -> dict[str, str]:
    keys, sentences = _two_columns(file)
    if len(set(keys)) != len(keys):
        raise UserError(f"{file} has {len(keys) - len(set(keys))} repeated sentence ids; each id must occur once")
    return dict(zip(keys, sentences, strict=True))


def _scored(file: Path, number: int, line: str) -> tuple[str, str, float]:
    first, second, score = _columns(file, number, line, 3)
    try:
        return first, second, float(score)
    except ValueError:
        raise UserError(f"{file}, line {number}: the third column should be a number, got {score!r}") from None
