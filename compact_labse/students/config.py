"""The shape of a student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compact_labse.errors import UserError
from compact_labse.settings import token_limit


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """Shape of a student: a bag of tokens ("static"), or a transformer that is BERT- or ELECTRA-shaped.

    Args:
        kind: "static" (mean of token vectors), "bert", "electra" (BERT with a table narrower than the model), or
            "folder": the model in the folder `start`, of any architecture, trained further (`--student FOLDER`).
        dim: Width of the vectors; for a transformer its hidden size.
        layers: Transformer layers.
        heads: Attention heads; must divide `dim`.
        ffn: Width of the feed-forward layers; 4 x dim unless given.
        embedding: Width of the table of an ELECTRA-shaped student.
        max_tokens: Longest text in tokens, special tokens included; longer ones are cut. Static students read all,
            and only train on the first `max_tokens`.
        dropout: Share of activations (of tokens, in a static student) that is dropped while training.
        compose: Let a static student's pieces share what they learn: while training, a piece's vector is its own plus
            the mean of the vectors of the shorter pieces that it could be cut into. Saved as a plain table.
        start: Where the first weights come from: "random", "teacher" (layers and token vectors of the teacher; for a
            static student the teacher's vectors of the pieces, reduced by PCA), or the folder of a trained static
            student, whose table is copied while the layers start as the identity.
        keep: Share of that table in the one that a static student is saved with: the mean of before and after is often
            better than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
        bits: Train and save a static student's table in the values that so many bits (2, 3 or 4) can hold, each row in
            steps of its own, so that an export in so many bits loses nothing; None for all values. A transformer is
            trained as if its weights and table had 8 or 4 bits and its activations 8; best as a last phase
            (`--student FOLDER --student.bits 4`). In 4 bits it is saved in their values, too.
        fixed_ranges: With 8 bits, give the activations that go into each layer one range for all texts. They are saved
            as `ranges.json`, and `export --int8-static` takes them instead of ranges of its own.
    """

    kind: Literal["static", "bert", "electra", "folder"] = "static"
    dim: int = 256
    layers: int = 3
    heads: int = 4
    ffn: int | None = None
    embedding: int = 128
    max_tokens: int = 128
    dropout: float = 0.0
    compose: bool = False
    start: str = "random"
    keep: float = 0.0
    bits: int | None = None
    fixed_ranges: bool = False

    @property
    def start_folder(self) -> Path | None:
        """The folder that `start` names, unless it says "random" or "teacher"."""
        return None if self.start in ("random", "teacher") else Path(self.start)

    def __post_init__(self) -> None:
        if self.kind not in ("static", "bert", "electra", "folder"):
            raise UserError(f"student.kind is {self.kind!r}; known: static, bert, electra, folder")
        if self.kind == "folder" and (not self.start_folder or self.dropout):
            raise UserError("student.kind folder trains the model in the folder student.start further, without dropout")
        if self.kind == "folder" and (limit := token_limit(Path(self.start))):
            object.__setattr__(self, "max_tokens", min(self.max_tokens, limit))
        for name in ("dim", "layers", "heads", "embedding"):
            if getattr(self, name) < 1:
                raise UserError(f"student.{name} must be at least 1, got {getattr(self, name)}")
        if self.kind in ("bert", "electra") and self.dim % self.heads:
            raise UserError(f"student.heads ({self.heads}) must divide student.dim ({self.dim})")
        if self.ffn is not None and self.ffn < 1:
            raise UserError(f"student.ffn must be at least 1, got {self.ffn}")
        if self.max_tokens < 4:
            raise UserError(f"student.max_tokens must be at least 4, got {self.max_tokens}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"student.dropout must be in [0, 1), got {self.dropout}")
        if self.dropout and self.kind in ("bert", "electra") and self.start_folder:
            # dropping the two coordinates that hold a special token's length leaves nothing to normalise
            raise UserError("a transformer that starts from a static student trains without dropout: set it to 0")
        self._check_static()

    def _check_static(self) -> None:
        if self.compose and self.kind != "static":
            raise UserError(f"student.compose is for static students, and student.kind is {self.kind!r}")
        if not 0 <= self.keep < 1:
            raise UserError(f"student.keep must be in [0, 1), got {self.keep}")
        if self.keep and (self.kind != "static" or not self.start_folder):
            raise UserError("student.keep is for a static student that starts from the folder of another")
        known = (2, 3, 4) if self.kind == "static" else (4, 8)
        if self.bits not in (None, *known):
            options = ", ".join(map(str, known))
            raise UserError(f"student.bits of kind {self.kind} must be {options} or null, got {self.bits}")
        if self.fixed_ranges and (self.kind == "static" or self.bits != 8):
            raise UserError("student.fixed_ranges is for transformers with student.bits 8, as static exports have them")
        if self.bits and self.keep:
            raise UserError(
                "student.bits keeps a table to few values: not together with student.keep, which averages two"
            )

    @property
    def special(self) -> bool:
        """Whether texts get the special tokens [CLS] and [SEP]."""
        return self.kind != "static"

    @property
    def ffn_width(self) -> int:
        """The width of the feed-forward layers."""
        return self.ffn or 4 * self.dim
