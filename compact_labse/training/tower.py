"""What a dual encoder trains: one encoder for both sides and the scale of its cosines, shared among ranks.

Shapes: R texts, T tokens, D dimension.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from compact_labse.bodies import StaticBody
from compact_labse.sentence_model import SentenceModel
from compact_labse.training import ranks


class Tower(nn.Module):
    """An encoder and, learned or not, the logarithm of the scale: inside, so that DDP averages its gradient too."""

    def __init__(self, encoder: SentenceModel, scale: float, *, learn_scale: bool) -> None:
        super().__init__()
        self.encoder = encoder
        log_scale = torch.tensor([scale]).log()  # one dimension, because FSDP shards no scalars
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, ids_RT: Tensor, mask_RT: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors `[R, D]` and the scale `[1]`."""
        return self.encoder(ids_RT, mask_RT)[1], self.log_scale.exp()

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the parameters that are tables of token vectors."""
        body = self.encoder.body
        table = body.embedding if isinstance(body, StaticBody) else body.transformer.get_input_embeddings()
        return tuple(name for name, parameter in self.named_parameters() if parameter is table.weight)


def shared(tower: Tower, engine: str, device: torch.device) -> nn.Module:
    """The module to call in training: `tower` itself on one rank, else wrapped by DDP, or sharded in place by FSDP2."""
    if ranks.world() == 1:
        return tower
    if engine == "fsdp":
        from torch.distributed.fsdp import fully_shard

        for inner in _layers(tower.encoder.body):
            fully_shard(inner)
        fully_shard(tower)
        return tower
    return replicated(tower, device)


def replicated(module: nn.Module, device: torch.device) -> nn.Module:
    """The module to call in training: itself on one rank, else wrapped by DDP."""
    if ranks.world() == 1:
        return module
    devices = [device] if device.type == "cuda" else None
    settings: dict[str, Any] = {"broadcast_buffers": False, "gradient_as_bucket_view": True}
    with warnings.catch_warnings():
        # torch 2.13 has another name for the last one, which older ones do not know
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(module, device_ids=devices, **settings)


def _layers(body: nn.Module) -> list[nn.Module]:
    """The layers of a transformer: each is gathered when it runs, and only then."""
    return [layer for module in body.modules() if isinstance(module, nn.ModuleList) for layer in module]
