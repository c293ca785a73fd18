"""What cleaning drops: limits and switches, cheap to import."""

from __future__ import annotations

from dataclasses import dataclass

from compact_labse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What `clean_pairs` and `clean_texts` tidy and what they drop. The defaults keep words as well as sentences.

    Args:
        min_chars: Shortest side, in characters after tidying.
        max_chars: Longest side, in characters after tidying.
        max_ratio: Longer side over shorter side, both in characters plus `ratio_slack`.
        ratio_slack: Added to both lengths, because short texts differ more: "OK" against "Einverstanden".
        min_script: Share of the target's letters that must be in a script of its language; 0 turns the check off.
        letters: Drop texts without a letter of any script: numbers, emoji, rules.
        drop_copies: Drop pairs whose sides are equal but for case. Turn off for lexicons, where many words are spelt
            alike.
        drop_duplicates: Keep the first of equal pairs (or texts), whatever language they are said to be in; case does
            not count. Needs 11 to 23 bytes of memory for each one kept.
    """

    min_chars: int = 1
    max_chars: int = 1000
    max_ratio: float = 5.0
    ratio_slack: int = 15
    min_script: float = 0.3
    letters: bool = True
    drop_copies: bool = True
    drop_duplicates: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_chars <= self.max_chars:
            raise UserError(f"min_chars must be from 0 to max_chars, got {self.min_chars} and {self.max_chars}")
        if self.max_ratio < 1:
            raise UserError(f"max_ratio is longer over shorter side and at least 1, got {self.max_ratio}")
        if self.ratio_slack < 0:
            raise UserError(f"ratio_slack is a number of characters and not negative, got {self.ratio_slack}")
        if not 0 <= self.min_script <= 1:
            raise UserError(f"min_script is a share from 0 to 1, got {self.min_script}")
