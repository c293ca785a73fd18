"""Heat maps of a report: languages down, artifacts across, one measure at a time."""

from __future__ import annotations

import re
from html import escape

from compact_labse.measure.pages.quality_tables import DIRECTIONS
from compact_labse.measure.pages.summary import Row, Summary, Values
from compact_labse.measure.quality.languages import canonical

# What a heat map shows beside retrieval or correlation: (kind of record, measure, name).
_MORE = (
    ("mining", "f1", "mining F1"),
    ("search", "recall_1", "search R@1"),
    ("search", "mrr", "search MRR"),
    ("space", "separation", "separated"),
    ("agreement", "top10_overlap", "shared top 10"),
)


def heat_map(dataset: str, summary: Summary) -> str:
    """One data set as a table with a list of measures; the page's script switches between them."""
    rows = [row for row in summary.rows if dataset in row.quality]
    cells = {row.label: _figures(row, dataset) for row in rows}
    names = dict.fromkeys(name for found in cells.values() for figures in found.values() for name in figures)
    languages = sorted({code for found in cells.values() for code in found})
    options = "".join(f'<option value="{number}">{escape(name)}</option>' for number, name in enumerate(names))
    head = "".join(f'<th scope="col">{breakable(row.label)}</th>' for row in rows)
    unseen = {row.label: {canonical(code) for code in row.quality[dataset].get("untrained", [])} for row in rows}
    body = ""
    for code in languages:
        line = "".join(
            _cell(cells[row.label].get(code, {}), list(names), canonical(code) in unseen[row.label]) for row in rows
        )
        body += f'<tr><th scope="row">{escape(code)}</th>{line}</tr>'
    note = (
        '<p class="soft small">Italic: the model was never trained on this language.</p>'
        if any(unseen.values())
        else ""
    )
    return (
        f'<section class="heat"><div class="head"><h3>{escape(dataset)}</h3>'
        f'<label>Measure <select class="measure">{options}</select></label></div>'
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{note}</section>"
    )


def breakable(label: str) -> str:
    """A label that may be broken after its separators."""
    return re.sub("([/_-])", r"\1<wbr>", escape(label))


def _figures(row: Row, dataset: str) -> dict[str, dict[str, float]]:
    """Per language the figures by name, in percent."""
    values = row.quality[dataset]
    found: dict[str, dict[str, float]] = {
        code: {DIRECTIONS.get(measure, measure): figures[measure] for measure in values["measures"]}
        for code, figures in values["languages"].items()
    }
    for kind, measure, name in _MORE:
        more: dict[str, Values] = row.agreement if kind == "agreement" else row.more.get(kind, {})
        for code, figures in more.get(dataset, {}).get("languages", {}).items():
            if code in found:
                found[code][name] = figures[measure]
    return found


def _cell(figures: dict[str, float], names: list[str], unseen: bool) -> str:
    if not figures:
        return "<td></td>"
    data = "|".join(f"{figures[name]:.1f}" if name in figures else "" for name in names)
    first = figures.get(names[0])
    shown, heat = ("", 0.0) if first is None else (f"{first:.1f}", max(0.0, min(100.0, first)))
    mark = ' class="unseen"' if unseen else ""
    return f'<td data-figures="{data}"{mark} style="--v:{heat:.1f}">{shown}</td>'
