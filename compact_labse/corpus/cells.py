"""Take the wanted cells out of records and check them: a record that has not got them as text is malformed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from compact_labse.corpus.columns import Cells, Columns, MissingColumn, Picker, picker_for_names, picker_for_rows
from compact_labse.corpus.lines import Record, place
from compact_labse.corpus.records import BadLines
from compact_labse.errors import UserError

# The keys of a record in their order; None for a list of cells.
Shape = tuple[str, ...] | None
SHAPES = 1000  # remembered per file: JSON lines may differ from one to the next


class Malformed(Exception):
    """A record that cannot be used; the arguments are the reason, by which it is counted, and the detail."""


def usable_cells(
    records: Iterable[tuple[int, Record]], name: str, unit: str, wanted: Columns, bad: BadLines
) -> Iterator[tuple[Picker, Cells]]:
    """The texts, and the language if the picker has one, of every record of the file `name` that has them.

    Record number 0 is a header: one that lacks a wanted column raises UserError, naming those present.
    """
    pickers: dict[Shape, Picker] = {}
    for number, record in records:
        if number == 0:
            pickers[None] = _header_picker(name, wanted, record)
            continue
        try:
            picker, cells = _pick(pickers, wanted, record)
            yield picker, _checked(cells, len(picker.keys))
        except Malformed as error:
            bad.add(place(name, number, unit), *error.args)


def _header_picker(name: str, wanted: Columns, header: Any) -> Picker:
    try:
        return picker_for_rows(wanted, header)
    except MissingColumn as error:
        raise UserError(f"{name} has {error}") from error


def _pick(pickers: dict[Shape, Picker], wanted: Columns, record: Record) -> tuple[Picker, Cells]:
    """The cells of a record, by the picker for records of its shape."""
    if isinstance(record, dict):
        record = _unfolded(record, wanted)
    shape = tuple(record) if isinstance(record, dict) else None
    try:
        picker = pickers.get(shape) or _new_picker(shape, wanted)
        if len(pickers) < SHAPES:
            pickers[shape] = picker
        return picker, picker.cells(record)
    except MissingColumn as error:
        raise Malformed("missing column", str(error)) from error
    except LookupError as error:
        raise Malformed("too few columns", f"there are {len(record)}") from error


def _new_picker(shape: Shape, wanted: Columns) -> Picker:
    if shape is not None:
        return picker_for_names(wanted, shape)
    if wanted.named:
        raise MissingColumn("no names, as it is an array; columns are chosen by position")
    return picker_for_rows(wanted, None)


def _unfolded(record: dict[str, Any], wanted: Columns) -> dict[str, Any]:
    """The languages of a `translation`, as many sets on the hub hold them."""
    inner = record.get("translation")
    if not isinstance(inner, dict) or any(column in record for column in wanted.texts or ()):
        return record
    return inner


def _checked(cells: Cells, count: int) -> Cells:
    """`cells` with the first `count` as non-empty text and the language, if there is one, as text or None."""
    texts = tuple(_text(cell) for cell in cells[:count])
    return (*texts, *(_label(cell) for cell in cells[count:]))


def _text(cell: object) -> str:
    if isinstance(cell, bytes):
        try:
            cell = cell.decode()
        except UnicodeDecodeError as error:
            raise Malformed("invalid UTF-8", f"byte {error.start + 1} of the text") from error
    if cell is None or cell == "" or (isinstance(cell, str) and cell.isspace()):
        raise Malformed("an empty side")
    if not isinstance(cell, str):
        raise Malformed("not text", f"a value of type {type(cell).__name__}")
    return cell


def _label(cell: object) -> str | None:
    if isinstance(cell, bytes):
        cell = cell.decode(errors="replace")
    return cell.strip() or None if isinstance(cell, str) else None
