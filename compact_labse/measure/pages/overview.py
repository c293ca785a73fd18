"""One table for readers in a hurry: size, accuracy of finding translations, speed and memory of every artifact."""

from __future__ import annotations

from compact_labse.measure.pages.entries import ABSENT, Entry, Table, number
from compact_labse.measure.pages.quality_tables import column_title, mean_of, quality_columns
from compact_labse.measure.pages.summary import Row, Summary

_SINGLE, _TEXT = "1x20", "text"
_COLUMNS = ("xx_en", "spearman")


def overview(summary: Summary, without: tuple[str, ...] = ("sample",)) -> Table:
    """Bytes to be shipped, means of quality (one direction), one text's latency, throughput, start and peak memory.

    Data sets of `without` are left out: text that comes with the package is too small to compare models with.
    """
    quality = [each for each in quality_columns(summary) if each[0] not in without and each[2] in _COLUMNS]
    header = ["model", "MB", *(column_title(*each) for each in quality)]
    header += ["ms, 1 × 20 tokens", "sentences/s", "start s", "peak MB"]
    rows = [
        [
            Entry(row.label, row.label),
            number(_shipped(row), 1),
            *(number(mean_of(row, *each), 1) for each in quality),
            _milliseconds(row),
            number(row.speeds[_TEXT].main, 0) if _TEXT in row.speeds else Entry(ABSENT),
            number(row.cold_start_ms / 1000 if row.cold_start_ms else None, 2),
            number(row.peak_bytes / 1e6 if row.peak_bytes else None, 0),
        ]
        for row in summary.rows
    ]
    return Table(title="Overview", header=header, rows=rows)


def _shipped(row: Row) -> float | None:
    size = row.model["artifact_bytes"]
    return (size + row.model["tokenizer_bytes"]) / 1e6 if size else None


def _milliseconds(row: Row) -> Entry:
    """Tokenizing and model together."""
    found = row.speeds.get(_SINGLE)
    return Entry(ABSENT) if found is None else number(found.tokenize + found.main, 3, note=found.rounds_text)
