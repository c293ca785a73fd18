"""Corpora of lines: TSV, JSONL and plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from compact_labse.corpus.columns import Columns, looks_like_header
from compact_labse.corpus.records import BadLines
from compact_labse.corpus.streams import opened

Record = list[Any] | dict[str, Any]


def decoded_lines(path: str, bad: BadLines) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines without their ends; a line that is not UTF-8 is malformed, an empty one is passed
    over. Only LF and CR LF end a line, so that U+2028 and its like stay within text."""
    with opened(path) as stream:
        for number, raw in enumerate(stream, 1):
            try:
                line = raw.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                bad.add(place(path, number), "invalid UTF-8", f"byte {error.start + 1} of the line")
                continue
            if number == 1:
                line = line.removeprefix("\ufeff")
            if line:
                yield number, line


def tsv_records(path: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """Cells of tab-separated lines, without quoting. The first record is the header, with number 0, if there is one.

    The first line is a header when columns were asked for by name, or when it holds a well-known pair of names.
    """
    lines = decoded_lines(path, bad)
    for number, line in lines:
        cells = line.split("\t")
        if columns.named:
            yield 0, [cell.strip() for cell in cells]
        elif looks_like_header(cells):
            yield 0, [cell.strip().casefold() for cell in cells]
        else:
            yield number, cells
        break
    for number, line in lines:
        yield number, line.split("\t")


def jsonl_records(path: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """One JSON object, or one JSON array, per line."""
    for number, line in decoded_lines(path, bad):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.add(place(path, number), "invalid JSON", str(error))
            continue
        if isinstance(record, dict | list):
            yield number, record
        elif isinstance(record, str) and columns.count != 2:
            yield number, [record]
        else:
            bad.add(place(path, number), "not a JSON object or array")


def text_records(path: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """One sentence per line; lines of nothing but space are passed over, as they separate paragraphs."""
    for number, line in decoded_lines(path, bad):
        if not line.isspace():
            yield number, [line]


def place(path: str, number: int, unit: str = "line") -> str:
    """Where a record lies, for messages."""
    return f"{path}, {unit} {number}"


Records = Callable[[str, Columns, BadLines], Iterator[tuple[int, Record]]]
