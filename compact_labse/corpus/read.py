"""Read pairs and texts from corpora of any size, one record at a time.

Formats, told by the file name: TSV, JSONL, Parquet, TFRecord of `tf.Example`, plain text, each also in .gz, .zst, .xz
or .bz2 (Parquet excepted); folders and globs of them; `hf:name[:config][:split]` for Hugging Face `datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from compact_labse.corpus.cells import usable_cells
from compact_labse.corpus.columns import Cells, Column, Columns, Picker
from compact_labse.corpus.files import PAIR_KINDS, TEXT_KINDS, Source, find_sources
from compact_labse.corpus.hub import hub_records
from compact_labse.corpus.lines import Records, jsonl_records, text_records, tsv_records
from compact_labse.corpus.parquet import parquet_records
from compact_labse.corpus.records import UNKNOWN, BadLines, Pair
from compact_labse.corpus.tfrecord import tfrecord_records
from compact_labse.errors import UserError
from compact_labse.progress import say

__all__ = ["Pair", "read_cells", "read_pairs", "read_texts"]

Paths = str | Path | Sequence[str | Path]

_RECORDS: dict[str, tuple[Records, str]] = {
    "tsv": (tsv_records, "line"),
    "jsonl": (jsonl_records, "line"),
    "text": (text_records, "line"),
    "parquet": (parquet_records, "row"),
    "tfrecord": (tfrecord_records, "record"),
    "hub": (hub_records, "example"),
}


def read_pairs(
    paths: Paths,
    *,
    columns: Sequence[Column] | None = None,
    language: str | None = None,
    language_column: Column | None = None,
    max_bad: int = 100,
    kind: str | None = None,
    report: Callable[[str], None] = say,
) -> Iterator[Pair]:
    """Stream the pairs of a corpus: files, folders (recursively, sorted), globs and `hf:` names, in the order given.

    `columns` are source and target, by position from 0 or by name; by default the first two columns of a TSV file, and
    elsewhere well-known names (source/target, src_raw/tgt_raw, english/non_english, a `translation` of two languages).
    Names need a header line in TSV. The language of a pair is `language`, or the cell of `language_column` (by default
    a column called language or lang), or what the file name says of the target column (`en-de.tsv.gz`: English first,
    then German), or "und". `kind` names the format of files whose names do not.

    A malformed line (no UTF-8, a missing column, an empty side) is reported with file and number, counted over the
    whole corpus, and skipped until there are more than `max_bad`; empty lines are passed over. Raises UserError for
    that, for a path that is not there or is empty, an unknown column, a damaged file, and a corpus or a file named
    outright without one usable pair. Paths and columns are checked at once, the rest while reading.
    """
    wanted = Columns(texts=None if columns is None else tuple(columns), language=language_column)
    sources = find_sources(paths, kind, PAIR_KINDS)
    return _pairs(sources, wanted, language, BadLines(max_bad, report))


def read_texts(
    paths: Paths,
    *,
    columns: Sequence[Column] | None = None,
    max_bad: int = 100,
    kind: str | None = None,
    report: Callable[[str], None] = say,
) -> Iterator[str]:
    """Stream the sentences of a monolingual corpus, or of some columns of one with pairs.

    Every line of plain text; of TSV the first column; elsewhere a column called text or sentence, or the source of a
    pair. With `columns`, every one of them, record by record. Paths and errors are those of `read_pairs`.
    """
    wanted = Columns(texts=None if columns is None else tuple(columns), count=1)
    sources = find_sources(paths, kind, TEXT_KINDS)
    return _texts(sources, wanted, BadLines(max_bad, report))


def read_cells(paths: Paths, *, max_bad: int = 100, report: Callable[[str], None] = say) -> Iterator[str]:
    """Stream every text in every column of a corpus, numbers and ids included: for sets of sentences to avoid."""
    sources = find_sources(paths, None, TEXT_KINDS)
    return _every_cell(sources, BadLines(max_bad, report))


def _pairs(sources: Sequence[Source], wanted: Columns, language: str | None, bad: BadLines) -> Iterator[Pair]:
    known, of_file = None, UNKNOWN
    for source, picker, cells in _rows(sources, wanted, bad):
        if picker is not known:
            known, of_file = picker, picker.target_language(source.languages) or UNKNOWN
        named = None if language or picker.language is None else cells[2]
        yield Pair(cells[0], cells[1], language or named or of_file)


def _texts(sources: Sequence[Source], wanted: Columns, bad: BadLines) -> Iterator[str]:
    count = len(wanted.texts or "1")
    for _, _, cells in _rows(sources, wanted, bad):
        yield from cells[:count]


def _every_cell(sources: Sequence[Source], bad: BadLines) -> Iterator[str]:
    wanted = Columns(count=0)
    for source in sources:
        records, _ = _RECORDS[source.kind]
        for _, record in records(source.name, wanted, bad):
            yield from _strings(record)
    bad.close()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _rows(sources: Sequence[Source], wanted: Columns, bad: BadLines) -> Iterator[tuple[Source, Picker, Cells]]:
    """The checked cells of every usable record. A named file without any raises UserError, as does a whole corpus."""
    total = 0
    for source in sources:
        before = total
        records, unit = _RECORDS[source.kind]
        for picker, cells in usable_cells(records(source.name, wanted, bad), source.name, unit, wanted, bad):
            total += 1
            yield source, picker, cells
        if total == before and source.named:
            raise UserError(f"{source.name} has no usable line{_because(bad)}")
        if total == before:
            bad.note(f"{source.name} has no usable line: passed over")
    if not total:
        raise UserError(f"no usable line in any file, from {sources[0].name} to {sources[-1].name}{_because(bad)}")
    bad.close()


def _because(bad: BadLines) -> str:
    return f"; the last malformed one: {bad.last}" if bad.last else ""
