"""The gates between an export and its name: does it still agree with its source, in every language and every batch?

Shapes: N sentences, B batch, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import GateError, UserError
from compact_labse.formats.gates import agreement
from compact_labse.formats.gates.agreement import Measured


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The least that a format must reach: cosines with the source, shares of sentences, cosines with itself.

    `worst_cosine`: any sentence, alone or in a padded batch. `language_cosine`: the mean of any language.
    `neighbours`: share of sentences whose nearest neighbour stays the same; `language_neighbours`: of any language.
    `invariance`: the same sentence alone and in a padded batch of 8 or 64. `tie` is no limit: a neighbour that the
    source finds less nearer by this much is no other neighbour.
    """

    worst_cosine: float
    language_cosine: float
    neighbours: float
    language_neighbours: float
    invariance: float = 0.9999
    tie: float = agreement.TIE

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not -1 <= value <= 1:
                raise UserError(f"the limit {name} must lie between -1 and 1, got {value}")

    def gates(self) -> dict[str, float]:
        """The limits by name."""
        return {name: value for name, value in asdict(self).items() if name != "tie"}

    def loosened(self, changes: Mapping[str, float]) -> Limits:
        """These limits with some lowered; UserError for an unknown gate, or for a limit that would get stricter."""
        known = list(self.gates())
        for name, value in changes.items():
            if name not in known:
                raise UserError(f"unknown gate {name!r}, expected one of {', '.join(known)}")
            if value > getattr(self, name):
                raise UserError(f"the gate {name} is at {getattr(self, name)}; {value} would tighten it, not loosen it")
        return replace(self, **changes)


# What integer formats are held to is less than what they reach (export/README.md) and more than what damage leaves.
LIMITS = {
    "fp32": Limits(worst_cosine=0.99999, language_cosine=0.99999, neighbours=0.999, language_neighbours=0.999),
    "fp16": Limits(worst_cosine=0.9999, language_cosine=0.99999, neighbours=0.998, language_neighbours=0.97, tie=0.001),
    "int8": Limits(worst_cosine=0.98, language_cosine=0.99, neighbours=0.97, language_neighbours=0.85, tie=0.01),
    "int8-static": Limits(worst_cosine=0.93, language_cosine=0.96, neighbours=0.95, language_neighbours=0.80, tie=0.02),
    "int8-dynamic": Limits(
        worst_cosine=0.93, language_cosine=0.96, neighbours=0.95, language_neighbours=0.80, tie=0.02
    ),
    "int4": Limits(worst_cosine=0.95, language_cosine=0.98, neighbours=0.95, language_neighbours=0.80, tie=0.02),
    "int3": Limits(worst_cosine=0.90, language_cosine=0.95, neighbours=0.92, language_neighbours=0.75, tie=0.03),
    # Only a table that was trained for it fits in 2 bits, and then nothing is lost.
    "int2": Limits(worst_cosine=0.95, language_cosine=0.98, neighbours=0.95, language_neighbours=0.80, tie=0.02),
}

TFLITE_LIMITS = {kind: LIMITS[kind] for kind in ("fp32", "fp16", "int8", "int8-static", "int4")}


def limits_of(kind: str, loosened: Mapping[str, float]) -> Limits:
    """The limits of a format, some of them lowered."""
    return LIMITS[kind].loosened(loosened)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A gate that failed: where it was worst, the value there and the limit."""

    gate: str
    language: str
    sentence: str
    value: float
    limit: float

    def __str__(self) -> str:
        where = f" on {_short(self.sentence)!r}" if self.sentence or self.language == agreement.HARD else ""
        return f"{self.gate} is {_digits(self.value)} in {self.language!r}{where}, the limit is {_digits(self.limit)}"


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was measured, the limits it was held to, and the gates that failed (none: the export may have its name)."""

    measured: Measured
    limits: Limits
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    def report(self) -> dict[str, Any]:
        """The entry for `parity.json`: limits, figures in all and per language, failures."""
        return {
            "passed": self.passed,
            "limits": asdict(self.limits),
            "figures": {name: _figure(worst) for name, worst in self.measured.worst().items()},
            "languages": {name: _rounded(figures) for name, figures in self.measured.languages().items()},
            "failures": [asdict(failure) for failure in self.failures],
        }

    def require(self, name: str) -> None:
        """GateError that lists every gate that failed, with its worst sentence; nothing if all passed."""
        if self.failures:
            listed = "; ".join(str(failure) for failure in self.failures)
            raise GateError(f"{name} was not written, {len(self.failures)} gates failed: {listed}")


def check(source: Encoder, export: Encoder, sentences: Mapping[str, list[str]], limits: Limits) -> Parity:
    """Compare an export with its source on sentences by language and on strings that break things; all failures count.

    The sentences must be others than those used for tracing or calibration.
    """
    return judge(agreement.Reference.of(source, sentences), export, limits)


def judge(reference: agreement.Reference, export: Encoder, limits: Limits) -> Parity:
    """`check`, with what the source makes of the sentences given."""
    if all(label == agreement.HARD for label in reference.labels):
        raise UserError("the gates need at least one sentence to compare the export with its source")
    measured = agreement.measure(reference, export, limits.tie)
    bounds = {"tokens": 1.0, "unit_length": 1 - 1e-4, **limits.gates()}
    failures = [
        Failure(gate=gate, language=worst.language, sentence=worst.sentence, value=worst.value, limit=bounds[gate])
        for gate, worst in measured.worst().items()
        if not worst.value >= bounds[gate]  # so that NaN fails
    ]
    dim = reference.vectors_ND.shape[1]
    if dim != export.dim:
        failures.append(Failure(gate="dimension", language="every", sentence="", value=export.dim, limit=dim))
    return Parity(measured=measured, limits=limits, failures=tuple(failures))


def _figure(worst: agreement.Worst) -> dict[str, Any]:
    return {"value": _round(worst.value), "language": worst.language, "sentence": _short(worst.sentence)}


def _rounded(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _round(value) for name, value in figures.items()}


def _round(value: float) -> float | None:
    return round(value, 7) if np.isfinite(value) else None


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= 80 else sentence[:77] + "..."


def _digits(value: float) -> str:
    return f"{value:.7f}".rstrip("0").rstrip(".")
