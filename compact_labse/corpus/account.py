"""The account of a corpus: how much was read and kept, and what was dropped, why, and in which language."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = 3
EXAMPLE_CHARS = 60
WORST = 3  # reasons shown per language


class Step:
    """What one step over a stream read and dropped."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.examples: dict[str, list[str]] = {}

    def drop(self, language: str, reason: str, *texts: str) -> None:
        """Count one record that goes no further; the first few of a reason are kept as examples."""
        self.dropped[language, reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(" = ".join(_short(text) for text in texts))


class Account:
    """What became of a corpus on its way through steps that share this account (cleaning, removal of sentences, ...).

    A step counts under its name what it reads and drops, so that several streams may pass through the same steps. All
    figures are numbers of pairs (or of texts).
    """

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}

    def step(self, name: str) -> Step:
        """The counters of the step called `name`, new or shared with an earlier stream."""
        return self.steps.setdefault(name, Step())

    @property
    def read(self) -> Counter[str]:
        """What came in, per language: the most that any step saw, as each step sees what the one before it kept."""
        read: Counter[str] = Counter()
        for step in self.steps.values():
            read |= step.read
        return read

    @property
    def dropped(self) -> Counter[str]:
        """What was dropped, per reason."""
        return self._sum_dropped(1)

    @property
    def kept(self) -> Counter[str]:
        """What came out, per language; zero where everything was dropped."""
        kept = self.read
        kept.subtract(self._sum_dropped(0))
        return kept

    def lines(self) -> list[str]:
        """The account as lines of plain text: totals, reasons with an example, languages."""
        read, kept, dropped = self.read.total(), self.kept.total(), self.dropped
        lines = [f"read {read:,}, kept {kept:,} ({_percent(kept, read)}), dropped {read - kept:,}"]
        width = max(map(len, dropped), default=0)
        for reason, count in dropped.most_common():
            lines.append(
                f"  {reason:<{width}} {count:>11,} {_percent(count, read):>7}  {self._example(reason)}".rstrip()
            )
        lines += [
            f"  {language:<8} kept {kept:>11,} of {of:>11,}  {why}".rstrip() for language, kept, of, why in self._rows()
        ]
        return lines

    def table(self) -> Table:
        """The account by language, as a table for a rich console; the last line sums up."""
        from rich.table import Table

        table = Table(title="corpus", show_footer=True)
        footers = f"{self.read.total():,}", f"{self.kept.total():,}", f"{self.dropped.total():,}"
        table.add_column("language", footer="all")
        for heading, footer in zip(("read", "kept", "dropped"), footers, strict=True):
            table.add_column(heading, footer=footer, justify="right")
        table.add_column("why", footer=_listed(self.dropped.most_common()))
        for language, kept, read, why in self._rows():
            table.add_row(language, f"{read:,}", f"{kept:,}", f"{read - kept:,}", why)
        return table

    def _rows(self) -> list[tuple[str, int, int, str]]:
        read, kept = self.read, self.kept
        reasons: dict[str, Counter[str]] = {language: Counter() for language in read}
        for step in self.steps.values():
            for (language, reason), count in step.dropped.items():
                reasons[language][reason] += count
        order = sorted(read, key=lambda language: (-kept[language], language))
        return [(name, kept[name], read[name], _listed(reasons[name].most_common(WORST))) for name in order]

    def _sum_dropped(self, part: int) -> Counter[str]:
        sums: Counter[str] = Counter()
        for step in self.steps.values():
            for key, count in step.dropped.items():
                sums[key[part]] += count
        return sums

    def _example(self, reason: str) -> str:
        examples = [example for step in self.steps.values() for example in step.examples.get(reason, [])]
        return f"e.g. {examples[0]}" if examples else ""


def _listed(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts)


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "-"


def _short(text: str) -> str:
    return repr(text if len(text) <= EXAMPLE_CHARS else text[: EXAMPLE_CHARS - 1] + "…")
