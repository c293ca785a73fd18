"""Parquet files, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compact_labse.corpus.columns import Columns, MissingColumn, picker_for_names
from compact_labse.corpus.files import COMPRESSIONS
from compact_labse.corpus.lines import Record
from compact_labse.corpus.records import BadLines
from compact_labse.errors import UserError, require

ROWS = 4096


def parquet_records(path: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """Row numbers from 1 and rows as dicts of the wanted columns, read in batches of `ROWS`.

    Raises UserError when a wanted column is missing, naming those present, and when the file is no Parquet file.
    """
    pyarrow = require("pyarrow", "train")
    parquet = require("pyarrow.parquet", "train")
    if path.lower().endswith(COMPRESSIONS):
        raise UserError(f"{path}: Parquet compresses by itself and cannot be read through another archive; unpack it")
    try:
        with parquet.ParquetFile(path) as file:
            wanted = _wanted(path, columns, file.schema_arrow)
            start = 1
            for batch in file.iter_batches(batch_size=ROWS, columns=wanted):
                values = [_values(pyarrow, column) for column in batch.columns]
                for number, row in enumerate(zip(*values, strict=True), start):
                    yield number, dict(zip(wanted, row, strict=True))
                start += batch.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"cannot read {path} as Parquet: {' '.join(str(error).split())}") from error


def _wanted(path: str, columns: Columns, schema: Any) -> list[str]:
    names = list(schema.names)
    unknown = not any(column in names for column in columns.texts or ())
    if (columns.texts is None and columns.count == 0) or (unknown and "translation" in names):
        return names
    try:
        picker = picker_for_names(columns, names)
    except MissingColumn as error:
        raise UserError(f"{path} has {error}") from error
    if any(isinstance(column, int) for column in (*(columns.texts or ()), columns.language)):
        return names  # positions are those in the whole file
    chosen = picker.keys if picker.language is None else (*picker.keys, picker.language)
    return [str(name) for name in dict.fromkeys(chosen)]


def _values(pyarrow: Any, column: Any) -> list[Any]:
    # Text comes out as bytes, so that one value that is no UTF-8 spoils its row and not the file.
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if any(test(column.type) for test in (pyarrow.types.is_string, pyarrow.types.is_large_string)):
        column = column.cast(pyarrow.large_binary())
    return column.to_pylist()
