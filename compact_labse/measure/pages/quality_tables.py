"""Tables of quality: means over language sets, weakest languages, agreement of two encoders."""

from __future__ import annotations

from typing import Any

from compact_labse.measure.pages.entries import ABSENT, Entry, Table, number
from compact_labse.measure.pages.summary import Row, Summary, source_of
from compact_labse.measure.quality.languages import canonical

DIRECTIONS = {
    "xx_en": "xx→en",
    "en_xx": "en→xx",
    "spearman": "Spearman",
    "xx_en_f1": "F1 xx→en",
    "en_xx_f1": "F1 en→xx",
    "pearson": "Pearson",
    "pearson_angular": "Pearson of angles",
}
MAIN = ("xx_en", "en_xx", "spearman")
_ABLE = 50.0  # percent, of a model whose languages nobody knows


def quality_table(summary: Summary) -> Table | None:
    """The mean of every complete language set in every direction."""
    columns = quality_columns(summary)
    if not columns:
        return None
    header = ["model"] + [column_title(*column) for column in columns]
    rows = [
        [Entry(row.label, row.label)] + [number(mean_of(row, *column), 1) for column in columns] for row in summary.rows
    ]
    return Table(title="Quality", header=header, rows=rows)


def weakest_table(summary: Summary) -> Table | None:
    """The three languages of every data set in which an artifact is worst, with their figures."""
    several = [
        name
        for name in summary.datasets
        if any(len(row.quality[name]["languages"]) > 1 for row in summary.rows if name in row.quality)
    ]
    if not several:
        return None
    rows = [
        [Entry(row.label, row.label)] + [_weakest(row.quality.get(name)) for name in several] for row in summary.rows
    ]
    return Table(title="Weakest languages", header=["model", *several], rows=rows)


def kept_table(summary: Summary) -> Table | None:
    """What of its source's accuracy an artifact keeps, in all languages that it can and in the one that lost most.

    Those are the languages it was trained on; where that is unknown, the ones in which its source reaches 50.
    """
    rows, sized = [], [row for row in summary.rows if row.model["artifact_bytes"]]
    for dataset in summary.datasets:
        for row in sized:
            source = source_of(row, sized)
            if source is None or dataset not in row.quality or dataset not in source.quality:
                continue
            if row.model["artifact_bytes"] >= source.model["artifact_bytes"]:  # a student of another kind
                continue
            able = 1.0 if row.model["trained"] else _ABLE
            mine, theirs = (_by_language(one.quality[dataset]) for one in (row, source))
            shares = {code: 100 * value / theirs[code] for code, value in mine.items() if theirs.get(code, 0.0) >= able}
            if not shares:
                continue
            least = min(shares, key=lambda code: shares[code])
            size = 100 * row.model["artifact_bytes"] / source.model["artifact_bytes"]
            mean = 100 * sum(mine[code] for code in shares) / sum(theirs[code] for code in shares)
            names = (Entry(text, text) for text in (row.label, source.label, dataset))
            worst = Entry(f"{least} {shares[least]:.1f}", shares[least])
            rows.append([*names, number(size, 1), number(len(shares), 0), number(mean, 2), worst])
    header = ["model", "of", "data", "bytes %", "languages", "kept %", "least kept"]
    return Table(title="Kept of the source", header=header, rows=rows) if rows else None


def agreement_table(summary: Summary) -> Table | None:
    """Cosines and shared neighbours with the teacher or reference, per data set and for English apart.

    English apart, because an English teacher has nothing to say about the other languages.
    """
    rows = [
        [Entry(row.label, row.label), Entry(values["with"], values["with"]), Entry(dataset, dataset)]
        + [entry for name in ("en", "all") for entry in _agreement_entries(name, values)]
        for row in summary.rows
        for dataset, values in row.agreement.items()
    ]
    measures = ("cosine", "worst", "same nearest %", "shared top 10 %")
    header = ["model", "with", "text", *(f"{name} {measure}" for name in ("English", "all") for measure in measures)]
    return Table(title="Agreement", header=header, rows=rows) if rows else None


def _agreement_entries(name: str, values: dict[str, Any]) -> list[Entry]:
    means = values["means"].get(name)
    if means is None:
        return [Entry(ABSENT)] * 4
    languages = values["languages"]
    code, worst = _worst_cosine({name: languages[name]} if name in languages else languages)
    return [
        _cosine(means.get("mean_cosine")),
        _cosine(worst, f"in {code}"),
        number(means["top1_overlap"], 1),
        number(means["top10_overlap"], 1),
    ]


def quality_columns(summary: Summary) -> list[tuple[str, str, str]]:
    """(data set, language set, main measure) of every mean that some artifact has, in order of appearance."""
    found: dict[tuple[str, str, str], None] = {}
    for row in summary.rows:
        for dataset, values in row.quality.items():
            for name, means in values["means"].items():
                found.update(dict.fromkeys((dataset, name, measure) for measure in means if measure in MAIN))
    return sorted(found, key=lambda column: summary.datasets.index(column[0]))


def column_title(dataset: str, name: str, measure: str) -> str:
    """`tatoeba-36 xx→en`; a set of all languages is named by its data set alone."""
    full = dataset if name == "all" else f"{dataset}-{name}"
    return f"{full} {DIRECTIONS.get(measure, measure)}"


def mean_of(row: Row, dataset: str, name: str, measure: str) -> float | None:
    """The mean of one measure over one language set; None where it was not measured."""
    found: float | None = row.quality.get(dataset, {}).get("means", {}).get(name, {}).get(measure)
    return found


def _by_language(values: dict[str, Any]) -> dict[str, float]:
    """The mean of the main measures in each language that the model was trained on."""
    unseen = {canonical(code) for code in values["untrained"]}
    known = {code: figures for code, figures in values["languages"].items() if canonical(code) not in unseen}
    columns = {code: [figures[name] for name in MAIN if name in figures] for code, figures in known.items()}
    return {code: sum(column) / len(column) for code, column in columns.items() if column}


def _weakest(values: dict[str, Any] | None) -> Entry:
    if values is None:
        return Entry(ABSENT)
    column = {code: row[values["measures"][0]] for code, row in values["languages"].items()}
    named = [f"{code} {column[code]:.0f}" for code in values["worst"]]
    return Entry(" ".join(named), column[values["worst"][0]])


def _cosine(value: float | None, note: str = "") -> Entry:
    return Entry(ABSENT) if value is None else Entry(f"{value:.4f}", value, note)


def _worst_cosine(languages: dict[str, dict[str, Any]]) -> tuple[str, float | None]:
    cosines = {code: row["worst_cosine"] for code, row in languages.items() if row["worst_cosine"] is not None}
    if not cosines:
        return "", None
    code = min(cosines, key=lambda code: cosines[code])
    return code, cosines[code]
