"""The linear layers and normalisations of stock transformers under the same names, whatever their family calls them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from torch import nn

from compact_labse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a family keeps its layers, what is in them (paths from a layer), and how its config says the sizes."""

    stack: str
    query: str
    key: str
    value: str
    attended: str
    attention_norm: str
    first: str = "intermediate.dense"
    second: str = "output.dense"
    norm: str = "output.LayerNorm"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    ffn: str = "intermediate_size"
    dim: str = "hidden_size"
    shares_heads: bool = False  # position biases belong to a head's number, in all layers alike


BERT = Family(
    stack="encoder",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
)
MPNET = Family(
    stack="encoder",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attended="attention.attn.o",
    attention_norm="attention.LayerNorm",
    shares_heads=True,
)
DISTILBERT = Family(
    stack="transformer",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attended="attention.out_lin",
    attention_norm="sa_layer_norm",
    first="ffn.lin1",
    second="ffn.lin2",
    norm="output_layer_norm",
    layers="n_layers",
    heads="n_heads",
    ffn="hidden_dim",
    dim="dim",
)
FAMILIES = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta", "camembert"), BERT),
    "mpnet": MPNET,
    "distilbert": DISTILBERT,
}


@dataclass(frozen=True)
class Layer:
    """One layer by family-independent names."""

    module: nn.Module
    family: Family

    def part(self, name: str) -> Any:
        """A linear layer or normalisation by its name in `Family`."""
        return attrgetter(getattr(self.family, name))(self.module)

    def put(self, name: str, new: nn.Module) -> None:
        """Put a module in the place of another."""
        path, _, last = getattr(self.family, name).rpartition(".")
        setattr(attrgetter(path)(self.module) if path else self.module, last, new)


class Body:
    """A stock transformer, its family and its layers."""

    def __init__(self, transformer: Any, where: str) -> None:
        kind = transformer.config.model_type
        if kind not in FAMILIES:
            raise UserError(f"{where} is of the family {kind!r}; those that are pruned: {', '.join(sorted(FAMILIES))}")
        self.transformer, self.family = transformer, FAMILIES[kind]

    @property
    def stack(self) -> Any:
        """The module that runs its list `layer` one after the other."""
        return getattr(self.transformer, self.family.stack)

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return [Layer(module, self.family) for module in self.stack.layer]

    def size(self, name: str) -> int:
        """A size of the config: layers, heads, ffn or dim."""
        return int(getattr(self.transformer.config, getattr(self.family, name)))

    @property
    def head_dim(self) -> int:
        """Values per head."""
        return self.size("dim") // self.size("heads")

    def states(self) -> Iterator[tuple[str, nn.Module]]:
        """Every module that writes the hidden state, in order, named: normalisations, and ELECTRA's projection."""
        yield (
            "embeddings",
            (self.transformer.embeddings_project if self.has_projection else self.transformer.embeddings.LayerNorm),
        )
        for place, layer in enumerate(self.layers):
            yield f"{place}.attention_norm", layer.part("attention_norm")
            yield f"{place}.norm", layer.part("norm")

    @property
    def has_projection(self) -> bool:
        """Whether a projection stands between the table and the layers (ELECTRA with a narrow table)."""
        return hasattr(self.transformer, "embeddings_project")

    @property
    def table_width(self) -> int:
        """Values per row of the table."""
        return int(self.transformer.get_input_embeddings().weight.shape[1])
