"""Which cells of a record are its texts and which its language: chosen by the user, or found by well-known names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from compact_labse.errors import UserError

Column = int | str
Cells = tuple[Any, ...]

# Source first. The published LaBSE trainer, sentence-transformers' parallel sets, and common habits.
PAIR_NAMES = (
    ("source", "target"),
    ("src", "tgt"),
    ("src_raw", "tgt_raw"),
    ("english", "non_english"),
    ("sentence1", "sentence2"),
    ("anchor", "positive"),
    ("text1", "text2"),
)
TEXT_NAMES = ("text", "sentence", "raw", *(name for names in PAIR_NAMES for name in names))
LANGUAGE_NAMES = ("language", "lang", "target_language", "tgt_lang")

_CODE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")


class MissingColumn(Exception):
    """A record, or a file's header, lacks a column; the text says which and what there is."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns a user asked for, by name or by position from 0; None means: find them.

    `count` texts are taken from a record when `texts` is None: 2 of a pair, 1 of a monolingual record, 0 for all.
    """

    texts: tuple[Column, ...] | None = None
    language: Column | None = None
    count: int = 2

    def __post_init__(self) -> None:
        wanted = [*(self.texts or ()), *([] if self.language is None else [self.language])]
        for column in wanted:
            if isinstance(column, bool) or not isinstance(column, int | str):
                raise UserError(f"a column is a name or a position from 0, got {column!r}")
            if isinstance(column, int) and column < 0:
                raise UserError(f"column positions count from 0, got {column}")
        if self.texts is not None and self.count == 2 and len(set(self.texts)) != 2:
            raise UserError(f"a pair needs two different columns, got {list(self.texts)}")
        if self.texts is not None and not self.texts:
            raise UserError("no column was named")

    @property
    def named(self) -> bool:
        """Whether any column was asked for by name, so that a TSV file must have a header."""
        return any(isinstance(column, str) for column in (*(self.texts or ()), self.language))


@dataclass(frozen=True)
class Picker:
    """Takes the cells out of records of one shape. `cells(record)` gives the texts and then the language, if any."""

    cells: Callable[[Any], Cells]
    keys: tuple[Column, ...]
    language: Column | None
    names: tuple[str, ...] | None

    def target_language(self, of_file: tuple[str, str] | None) -> str | None:
        """The language of the second text, from column names such as en and de, or from the languages in a file name.

        A file name lists them in the order of its columns, or, where columns have names, source first.
        """
        if self.names is not None and all(_is_code(name) for name in self.names):
            return self.names[1]
        if of_file is None:
            return None
        if self.names is not None:
            return of_file[0] if self.names[1] == of_file[0] else of_file[1]
        source, target = map(int, self.keys)
        return of_file[target > source]


def picker_for_rows(columns: Columns, header: Sequence[str] | None) -> Picker:
    """A picker for records that are lists of cells. Raises MissingColumn when `header` lacks a name."""
    if header is None:
        return _picker(columns.texts or tuple(range(columns.count)), columns.language, None)
    names = _names(columns, header)
    language = _language(columns, header)
    keys = tuple(header.index(name) for name in names)
    return _picker(keys, None if language is None else header.index(language), names)


def picker_for_names(columns: Columns, names: Sequence[str]) -> Picker:
    """A picker for records that are dicts with the keys `names`. Raises MissingColumn when one is not there."""
    chosen = _names(columns, names)
    return _picker(chosen, _language(columns, names), chosen)


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether a first TSV line is a header by its content: it holds a well-known pair of column names."""
    names = {cell.strip().casefold() for cell in cells}
    return any(names.issuperset(known) for known in PAIR_NAMES)


def _picker(keys: tuple[Any, ...], language: Any, names: tuple[str, ...] | None) -> Picker:
    wanted = keys if language is None else (*keys, language)
    if len(wanted) > 1:
        return Picker(itemgetter(*wanted), keys, language, names)
    only = wanted[0]
    return Picker(lambda record: (record[only],), keys, language, names)


def _names(columns: Columns, names: Sequence[str]) -> tuple[str, ...]:
    if columns.texts is not None:
        return tuple(_name(column, names) for column in columns.texts)
    if columns.count == 1:
        for known in TEXT_NAMES:
            if known in names:
                return (known,)
        raise MissingColumn(f"no column has a well-known name; its columns are: {_list(names)}")
    return _pair_names(names)


def _pair_names(names: Sequence[str]) -> tuple[str, ...]:
    for known in PAIR_NAMES:
        if set(known) <= set(names):
            return known
    # {"en": ..., "de": ...}, as translation sets on the hub have it
    if len(names) == 2 and all(_is_code(name) for name in names):
        return ("en", *(name for name in names if name != "en")) if "en" in names else tuple(names)
    raise MissingColumn(f"no two columns have well-known names; its columns are: {_list(names)}")


def _language(columns: Columns, names: Sequence[str]) -> str | None:
    if columns.language is not None:
        return _name(columns.language, names)
    return next((known for known in LANGUAGE_NAMES if known in names), None)


def _name(column: Column, names: Sequence[str]) -> str:
    if isinstance(column, int) and column < len(names):
        return names[column]
    if isinstance(column, str) and column in names:
        return column
    wanted = repr(column) if isinstance(column, str) else f"number {column}, counted from 0"
    raise MissingColumn(f"no column {wanted}; its columns are: {_list(names)}")


def _is_code(name: str) -> bool:
    return _CODE.fullmatch(name) is not None and name not in TEXT_NAMES


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
