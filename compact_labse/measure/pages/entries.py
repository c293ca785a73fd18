"""What tables are made of: entries that know their text, their sorting value and an explanation."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "–"


@dataclass(frozen=True)
class Entry:
    """One cell of a table: its text, what it is sorted by, and an explanation shown on hover."""

    text: str
    value: float | str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of entries under headers; the first column names the artifact, the others hold figures."""

    title: str
    header: list[str]
    rows: list[list[Entry]]


def number(value: float | None, digits: int, unit: str = "", note: str = "") -> Entry:
    """At most `digits` decimals, and about three significant figures for large and small values alike."""
    if value is None:
        return Entry(ABSENT)
    kept = digits if digits < 3 or abs(value) < 1 else 2 if abs(value) < 100 else 1
    return Entry(f"{value:,.{kept}f}{unit}", float(value), note)
