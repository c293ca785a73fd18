"""Tables of the costly measures: mining, search, smaller vectors, batches, languages never trained on."""

from __future__ import annotations

from collections.abc import Sequence

from compact_labse.measure.pages.entries import ABSENT, Entry, Table, number
from compact_labse.measure.pages.summary import Row, Summary, Values
from compact_labse.measure.quality.languages import canonical


def retrieval_table(summary: Summary) -> Table | None:
    """F1 of retrieval and mining, and search among all English of the set: means over the largest complete set."""
    header = ["model", "data", "F1 xx→en", "F1 en→xx", "mining F1", "precision", "recall"]
    header += ["search R@1", "R@5", "R@10", "MRR"]
    rows = []
    for row, dataset in _each(summary, ("quality", "mining", "search")):
        figures = [_means(row, "quality", dataset).get(name) for name in ("xx_en_f1", "en_xx_f1")]
        figures += [_means(row, "mining", dataset).get(name) for name in ("f1", "precision", "recall")]
        figures += [_means(row, "search", dataset).get(name) for name in ("recall_1", "recall_5", "recall_10", "mrr")]
        rows.append([*_names(row, dataset), *(number(figure, 1) for figure in figures)])
    return _table("Retrieval, mining and search", header, rows)


def similarity_table(summary: Summary) -> Table | None:
    """Correlations with human scores of similarity."""
    rows = []
    for row, dataset in _each(summary, ("quality",)):
        means = _means(row, "quality", dataset)
        names = ("spearman", "pearson", "pearson_angular")
        rows.append([*_names(row, dataset), *(number(means.get(name), 1) for name in names)])
    rows = [row for row in rows if row[3].text != ABSENT]
    return _table("Sentence similarity", ["model", "data", "Spearman", "Pearson cosine", "Pearson angle"], rows)


def quantized_table(summary: Summary) -> Table | None:
    """The share of float32's ten best that coarser vectors keep, and how often the translation comes first."""
    rows = []
    for row, dataset in _each(summary, ("quantized",)):
        means, size = _means(row, "quantized", dataset), _values(row, "quantized", dataset)["bytes"]
        figures = [number(size["float32"], 0)]
        figures += [number(means[name], 1) for name in ("int8", "binary", "rescored")]
        figures += [number(means[f"first_{name}"], 1) for name in ("float32", "int8", "binary", "rescored")]
        rows.append([*_names(row, dataset), *figures])
    kept = ["int8 kept %", "binary kept %", "rescored kept %"]
    first = [f"{name} first %" for name in ("float32", "int8", "binary", "rescored")]
    return _table("Quantized vectors", ["model", "data", "float32 bytes", *kept, *first], rows)


def truncated_table(summary: Summary) -> Table | None:
    """Retrieval accuracy (both directions) with the first part of each vector only."""
    rows, parts = [], ("all", "1/2", "1/4", "1/8", "1/16")
    for row, dataset in _each(summary, ("truncated",)):
        means = _means(row, "truncated", dataset)
        figures = [number(value, 1, note=name.replace("dim_", "") + " values") for name, value in means.items()]
        rows.append([*_names(row, dataset), *figures, *[Entry(ABSENT)] * (len(parts) - len(figures))])
    return _table("Truncated vectors", ["model", "data", *(f"{part} of values" for part in parts)], rows)


def batches_table(summary: Summary) -> Table | None:
    """Lowest cosine of a text alone against in a batch or padded, and how many nearest translations change."""
    rows, names = [], ("batch_8", "batch_64", "padded_128")
    for row, dataset in _each(summary, ("batches",)):
        lowest, means = _values(row, "batches", dataset)["lowest"], _means(row, "batches", dataset)
        figures = [Entry(f"{lowest[name]:.6f}", lowest[name]) for name in names]
        changed = [number(means[f"changed_{name}"], 1) for name in names]
        rows.append([*_names(row, dataset), *(entry for pair in zip(figures, changed, strict=True) for entry in pair)])
    header = [entry for name in names for entry in (f"{name.replace('_', ' ')} lowest cosine", "changed %")]
    return _table("Batches and padding", ["model", "data", *header], rows)


def separation_table(summary: Summary) -> Table | None:
    """Mean cosine of translations and of other sentences, and how surely the one is above the other."""
    rows = []
    for row, dataset in _each(summary, ("space",)):
        means = _means(row, "space", dataset)
        cosines = [Entry(f"{means[name]:.3f}", means[name]) for name in ("pair_cosine", "other_cosine")]
        rows.append([*_names(row, dataset), *cosines, number(means["separation"], 1)])
    return _table("Pairs against others", ["model", "data", "pairs cosine", "others cosine", "separated %"], rows)


def mteb_table(summary: Summary) -> Table | None:
    """Main scores of the mteb library's tasks, mean over their subsets."""
    tasks = dict.fromkeys(name for row in summary.rows for name in row.more.get("mteb", {}))
    rows = [
        [
            Entry(row.label, row.label),
            *(number(next(iter(_means(row, "mteb", task).values()), None), 1) for task in tasks),
        ]
        for row in summary.rows
        if "mteb" in row.more
    ]
    return (
        Table(title="MTEB", header=["model", *(task.removeprefix("mteb ") for task in tasks)], rows=rows)
        if rows
        else None
    )


def unseen_table(summary: Summary) -> Table | None:
    """Means over the languages that a model was trained on and over those it never saw, which are named."""
    rows = []
    for row, dataset in _each(summary, ("quality",)):
        values = _values(row, "quality", dataset)
        unseen = {canonical(code) for code in values["untrained"]}
        if not unseen:
            continue
        column = {code: found[values["measures"][0]] for code, found in values["languages"].items()}
        new = {code: value for code, value in column.items() if canonical(code) in unseen}
        old = [value for code, value in column.items() if code not in new]
        named = " ".join(f"{code} {value:.0f}" for code, value in sorted(new.items(), key=lambda pair: pair[1]))
        shown = named if len(new) <= 8 else f"{' '.join(named.split(' ')[:12])} …"
        figures = [
            number(len(old), 0),
            number(_mean(old), 1),
            number(len(new), 0),
            number(_mean(list(new.values())), 1),
        ]
        rows.append([*_names(row, dataset), *figures, Entry(shown, shown, named if shown != named else "")])
    header = ["model", "data", "trained on", "their mean", "never trained on", "mean of these", "weakest first"]
    return _table("Languages never trained on", header, rows)


def _each(summary: Summary, kinds: Sequence[str]) -> list[tuple[Row, str]]:
    """Artifacts by data set, data set by data set, so that what is compared stands together."""
    datasets = dict.fromkeys(name for row in summary.rows for kind in kinds for name in _kind(row, kind))
    return [(row, name) for name in datasets for row in summary.rows if any(name in _kind(row, kind) for kind in kinds)]


def _kind(row: Row, kind: str) -> dict[str, Values]:
    return row.quality if kind == "quality" else row.more.get(kind, {})


def _values(row: Row, kind: str, dataset: str) -> Values:
    return _kind(row, kind).get(dataset, {})


def _means(row: Row, kind: str, dataset: str) -> dict[str, float]:
    values = _values(row, kind, dataset)
    found: dict[str, float] = values["means"][values["headline"]] if values else {}
    return found


def _names(row: Row, dataset: str) -> list[Entry]:
    for kind in (row.quality, *row.more.values()):
        if dataset in kind and (headline := kind[dataset]["headline"]) != "all":
            return [Entry(row.label, row.label), Entry(f"{dataset}-{headline}", dataset)]
    return [Entry(row.label, row.label), Entry(dataset, dataset)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _table(title: str, header: list[str], rows: list[list[Entry]]) -> Table | None:
    """None where no row has a figure."""
    kept = [row for row in rows if any(entry.text != ABSENT for entry in row[2:])]
    return Table(title=title, header=header, rows=kept) if kept else None
