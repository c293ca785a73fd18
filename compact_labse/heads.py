"""What a sentence-transformers folder may put around its pooling: Dense, LayerNorm, Normalize, Dropout.

State dicts have the names that sentence-transformers uses, so weights go in and out unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compact_labse.errors import UserError
from compact_labse.settings import read_json
from compact_labse.weights import fill

ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.Tanh, nn.Identity, nn.GELU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.Mish, nn.Softplus
    )
}  # fmt: skip
TOKENS, SENTENCE = "token_embeddings", "sentence_embedding"


class Dense(nn.Module):
    """A linear layer, its activation and, if `residual`, the input added: works on the last axis of any tensor."""

    def __init__(
        self, in_dim: int, out_dim: int, *, bias: bool = True, activation: str = "Tanh", residual: bool = False
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        self.add_input = residual
        if residual and in_dim != out_dim:
            self.residual = nn.Linear(in_dim, out_dim, bias=False)

    @property
    def dim(self) -> int:
        """The dimension of what comes out."""
        return self.linear.out_features

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_dim]` to `[..., out_dim]`."""
        out = self.activation(self.linear(x))
        if not self.add_input:
            return out
        return out + (self.residual(x) if hasattr(self, "residual") else x)


class LayerNorm(nn.Module):
    """Layer normalisation, `[..., D]` to `[..., D]`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """The input with mean 0 and variance 1 per vector, scaled and shifted as learnt."""
        return self.norm(x)


class Normalize(nn.Module):
    """L2 normalisation, `[..., D]` to `[..., D]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Vectors of length 1; a zero vector stays zero."""
        return unit(x)


def unit(x: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis; a zero vector stays zero."""
    # plain operators, because exporters turn the library's normalize into a node that not every runtime has
    return x / torch.sqrt((x * x).sum(dim=-1, keepdim=True) + 1e-24)


def read_dense(folder: Path, dim: int) -> Dense:
    """The Dense of a folder such as `2_Dense/`; UserError if its input is not `dim` or its activation unknown."""
    file = folder / "config.json"
    config = read_json(file, required=True)
    if config.get("in_features") != dim:
        raise UserError(f"{file}: in_features is {config.get('in_features')}, but the module before it gives {dim}.")
    if not isinstance(config.get("out_features"), int):
        raise UserError(f"{file}: out_features must be a number, got {config.get('out_features')!r}.")
    dense = Dense(
        dim,
        config["out_features"],
        bias=config.get("bias", True),
        activation=_activation(config.get("activation_function", "torch.nn.modules.activation.Tanh"), file),
        residual=config.get("use_residual", False),
    )
    fill(dense, folder)
    return dense


def read_layer_norm(folder: Path, dim: int) -> LayerNorm:
    """The LayerNorm of a folder; UserError if it is not for vectors of `dim`."""
    file = folder / "config.json"
    got = read_json(file, required=True).get("dimension")
    if got != dim:
        raise UserError(f"{file}: dimension is {got}, but the module before it gives {dim}.")
    norm = LayerNorm(dim)
    fill(norm, folder)
    return norm


HEADS: dict[str, Callable[[Path, int], nn.Module]] = {
    "Dense": read_dense,
    "LayerNorm": read_layer_norm,
    "Normalize": lambda folder, dim: Normalize(),
    "Dropout": lambda folder, dim: nn.Identity(),
}


def works_on(folder: Path) -> str:
    """Which vectors a head changes: "token_embeddings" or "sentence_embedding"; UserError for anything else."""
    config: dict[str, Any] = read_json(folder / "config.json")
    reads = config.get("module_input_name", SENTENCE)
    writes = config.get("module_output_name") or reads
    if reads not in (TOKENS, SENTENCE) or writes != reads:
        raise UserError(
            f"{folder / 'config.json'}: reads {reads!r} and writes {writes!r}; "
            f"expected {TOKENS!r} or {SENTENCE!r} for both."
        )
    return reads


def _activation(path: str, file: Path) -> str:
    name = path.rpartition(".")[2]
    if not path.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise UserError(
            f"{file}: unknown activation_function {path!r}, expected one of torch.nn's {', '.join(ACTIVATIONS)}."
        )
    return name
