"""The models that a search chooses among: how many pieces, layers, heads and columns, how wide a table, which bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from compact_labse.bodies import StaticBody
from compact_labse.compress.architecture import FAMILIES, Body
from compact_labse.heads import Dense, Normalize
from compact_labse.sentence_model import SentenceModel

# Shares of the original's size that are tried.
SHARES = {"layers": (5 / 6, 2 / 3, 1 / 2, 1 / 3), "heads": (5 / 6, 2 / 3, 1 / 2), "ffn": (3 / 4, 1 / 2, 1 / 3)}
TABLE_SHARES = (1 / 2, 1 / 3)
STATIC_SHARES = (3 / 4, 1 / 2, 1 / 4)
FEWER_PIECES = (0.6, 0.35)  # of the pieces that text uses beside single characters, which all stay
TABLE_BITS = {"fp32": 32, "int8": 8, "int4": 4, "int3": 3, "int2": 2}  # layers have 8 below 32
DEEP_BITS, STATIC_BITS = ("fp32", "int8", "int4"), ("fp32", "int8", "int4", "int3", "int2")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One combination. `layers`, `heads` and `ffn` are 0 in a bag of tokens.

    `table` is the width of the table where it is narrowed, 0 where it is not. `bits` is a format of the ONNX export.
    """

    pieces: int
    layers: int = 0
    heads: int = 0
    ffn: int = 0
    table: int = 0
    bits: str = "fp32"

    @property
    def title(self) -> str:
        """For tables: `4 layers, 12 heads, 768 ffn, 18,000 pieces, int8`."""
        parts = [f"{getattr(self, name)} {name}" for name in ("layers", "heads", "ffn") if getattr(self, name)]
        table = [f"table {self.table}"] if self.table else []
        return ", ".join([*parts, *table, f"{self.pieces:,} pieces", self.bits])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What the graph depends on beside its bits and rows."""
        return self.layers, self.heads, self.ffn, self.table

    def record(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The options of each field, the original's first; `dim` and `table` are the original's widths.

    `bag` says that the model is a table and nothing else.
    """

    options: Mapping[str, tuple[Any, ...]]
    dim: int
    table: int
    bag: bool = False

    @property
    def original(self) -> Candidate:
        """The first of every option."""
        return Candidate(**{name: found[0] for name, found in self.options.items()})

    def smallest(self) -> Iterator[Candidate]:
        """The smallest model in each of the bits."""
        least = {name: self._least(name) for name in self.options}
        for bits in self.options["bits"]:
            yield Candidate(**{**least, "bits": bits})

    def starts(self) -> Iterator[Candidate]:
        """Combinations worth a look in any search: the whole shape in few bits, then one step half the way alone.

        Small before large, since what contains something that is too slow need not be timed.
        """
        pieces = self.options["pieces"]
        for bits in self.options["bits"][1:]:
            for count in dict.fromkeys((pieces[-1], pieces[0])):
                yield replace(self.original, pieces=count, bits=bits)
        for name in ("layers", "ffn", "heads", "table"):
            if len(found := self.options[name]) > 1:
                yield replace(self.original, **{name: found[len(found) // 2], "bits": self.options["bits"][1]})

    def contains(self, larger: Candidate, smaller: Candidate) -> bool:
        """Whether one is at least as large as the other in everything: then it is no smaller and no faster."""
        names = ("pieces", "layers", "heads", "ffn")
        wide = [one.table or self.table for one in (larger, smaller)]
        return (
            all(getattr(larger, name) >= getattr(smaller, name) for name in names)
            and larger.bits == smaller.bits
            and wide[0] >= wide[1]
            and bool(larger.table) == bool(smaller.table)
        )

    def floor(self, one: Candidate) -> int:
        """Bytes that the model has at least: its table and the matrices of its layers, nothing around them."""
        bits = TABLE_BITS[one.bits]
        dim = self.dim * one.heads // self.options["heads"][0] if one.heads else self.dim
        width = one.table or (self.table if self.table != self.dim else dim)
        known = len(self.options["layers"]) > 1  # other families may share layers
        layers = one.layers * (4 * dim * dim + 2 * dim * one.ffn) if known else 0
        return (one.pieces * width * bits + layers * max(8, bits)) // 8

    def _least(self, name: str) -> Any:
        numbers = [value for value in self.options[name] if value]
        return min(numbers) if name != "bits" and numbers else self.options[name][-1]


def space_of(module: SentenceModel, pieces: Sequence[int], plain_bag: bool) -> Space:
    """What can be made of a model with vocabularies of so many pieces; unknown families keep their shape."""
    body: Any = module.body
    options: dict[str, tuple[Any, ...]] = {"pieces": tuple(pieces)}
    if isinstance(body, StaticBody):
        width = body.dim
        options |= {"layers": (0,), "heads": (0,), "ffn": (0,), "bits": STATIC_BITS}
        narrower = {8 * round(share * width / 8) for share in STATIC_SHARES} if plain_bag else set()
        options["table"] = (0, *sorted((n for n in narrower if 8 <= n < width), reverse=True))
        return Space(options=options, dim=width, table=width, bag=plain_bag)
    config = body.transformer.config
    if config.model_type not in FAMILIES:
        names = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn": "intermediate_size"}
        options |= {name: (int(getattr(config, key, 1)),) for name, key in names.items()}
        return Space(options=options | {"table": (0,), "bits": DEEP_BITS}, dim=body.dim, table=body.dim)
    found = Body(body.transformer, "the model")
    for name, shares in SHARES.items():
        whole = found.size(name)
        fewer = {max(1, round(share * whole)) for share in shares} - {whole}
        options[name] = (whole, *sorted(fewer, reverse=True))
    dim, table = found.size("dim"), found.table_width
    if not can_narrow(module):
        options["heads"] = options["heads"][:1]
    if table != dim:  # a stock ELECTRA as wide as its table has no projection
        options["heads"] = tuple(n for n in options["heads"] if n * found.head_dim != table)
    narrower = {8 * round(share * dim / 8) for share in TABLE_SHARES} if config.model_type == "bert" else set()
    smallest = min(options["heads"]) * found.head_dim
    options["table"] = (0, *sorted((n for n in narrower if 8 <= n < smallest), reverse=True))
    return Space(options=options | {"bits": DEEP_BITS}, dim=dim, table=table)


def can_narrow(module: SentenceModel) -> bool:
    """Whether what follows the body takes fewer dimensions, as `prune` makes them."""
    heads = [*module.token_heads, *module.sentence_heads]
    dense = [head for head in heads if isinstance(head, Dense)]
    if dense and (dense[0].add_input or module.modes not in (("mean",), ("cls",))):
        return False
    return all(isinstance(head, Dense | Normalize | nn.Identity) for head in heads)
