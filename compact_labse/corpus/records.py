"""What a corpus is made of: pairs of sentences, and the malformed lines between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from compact_labse.errors import UserError
from compact_labse.progress import say

UNKNOWN = "und"


class Pair(NamedTuple):
    """Two sentences that translate each other; `language` is that of `target` ("de"), "und" where nothing says it."""

    source: str
    target: str
    language: str


class BadLines:
    """Counts malformed lines, reports the first few with file and number, and stops the reading at a limit."""

    SHOWN = 5

    def __init__(self, limit: int, report: Callable[[str], None] = say) -> None:
        if limit < 0:
            raise UserError(f"max_bad is the number of malformed lines to skip and cannot be negative, got {limit}")
        self.limit = limit
        self.count = 0
        self.last = ""
        self._report = report
        self._reasons: Counter[str] = Counter()

    def add(self, place: str, reason: str, detail: str = "") -> None:
        """Count one malformed line at `place` ("file, line 7"). Raises UserError when it is one more than the limit."""
        self.count += 1
        self._reasons[reason] += 1
        self.last = f"{place}: {reason}" + (f" ({detail})" if detail else "")
        if self.count > self.limit:
            raise UserError(
                f"{self.last}; with it {self.count} malformed lines were found and max_bad allows {self.limit}: "
                "mend the file, or allow more"
            )
        if self.count <= self.SHOWN:
            self._report(f"skipped {self.last}")

    def note(self, message: str) -> None:
        """Report something that is no malformed line."""
        self._report(message)

    def summary(self) -> str:
        """One line with the number of malformed lines by reason; empty when there were none."""
        if not self.count:
            return ""
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self._reasons.most_common())
        return f"{self.count} malformed line{'s' * (self.count > 1)} skipped ({reasons})"

    def close(self) -> None:
        """Report the summary, unless every malformed line has been shown already."""
        if self.count > self.SHOWN:
            self._report(self.summary())
