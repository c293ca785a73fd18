"""The gradient of a batch that is too large to encode at once, chunk by chunk: exact, at one extra forward pass.

First every chunk is encoded without keeping anything, the loss of all vectors gives the gradient of each vector, then
every chunk is encoded again, with the same dropout masks, to carry that gradient into the weights (Gao et al. 2021,
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").

Shapes: R texts of a chunk, T tokens, N texts of a rank, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Chunk = tuple[Tensor, Tensor]  # ids and mask, [R, T]
Autocast = Callable[[], AbstractContextManager[object]]
LossOf = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]


def backward(
    module: nn.Module,
    chunks: Sequence[Chunk],
    loss_of: LossOf,
    autocast: Autocast = nullcontext,
    *,
    keep: bool = False,
) -> dict[str, Tensor]:
    """Add the gradient of `loss_of(vectors_ND, scale)` to the module's weights; gives the named values, detached.

    `module(ids_RT, mask_RT)` gives vectors `[R, D]` and the scale; it may be wrapped by DDP or sharded by FSDP, which
    reduce the gradient over ranks, whose chunks must be equally many. With `keep`, all chunks' activations are kept,
    which takes memory and saves the second pass.
    """
    if keep or len(chunks) == 1:
        with autocast():
            outs = [module(*chunk) for chunk in chunks]
        loss, named = loss_of(torch.cat([vectors_RD for vectors_RD, _ in outs]), outs[-1][1])
        loss.backward()
        return {"loss": loss.detach(), **named}
    vectors_ND, scale, states = _encoded(module, chunks, autocast)
    loss, named = loss_of(vectors_ND.requires_grad_(), scale.requires_grad_())
    of_vectors_ND, of_scale = torch.autograd.grad(loss, [vectors_ND, scale])
    parts = of_vectors_ND.split([len(ids) for ids, _ in chunks])
    for number, (chunk, part_RD, state) in enumerate(zip(chunks, parts, states, strict=True)):
        last = number == len(chunks) - 1
        set_random_state(chunk[0].device, state)
        with nullcontext() if last else _alone(module):
            with autocast():
                again_RD, scale = module(*chunk)
            carried = [(again_RD, part_RD), (scale, of_scale)] if last else [(again_RD, part_RD)]
            reached = [(out, gradient) for out, gradient in carried if out.requires_grad]
            torch.autograd.backward([out for out, _ in reached], [gradient for _, gradient in reached])
    return {"loss": loss.detach(), **named}


def random_state(device: torch.device) -> Tensor:
    """What decides the next dropout mask on a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Go back to a state that `random_state` gave."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@torch.no_grad()
def _encoded(module: nn.Module, chunks: Sequence[Chunk], autocast: Autocast) -> tuple[Tensor, Tensor, list[Tensor]]:
    """All vectors, the scale, and the random state before each chunk."""
    parts, states, scale = [], [], torch.ones(())
    for ids_RT, mask_RT in chunks:
        states.append(random_state(ids_RT.device))
        with autocast():
            vectors_RD, scale = module(ids_RT, mask_RT)
        parts.append(vectors_RD)
    return torch.cat(parts), scale.clone(), states


def _alone(module: nn.Module) -> AbstractContextManager[object]:
    """Keep DDP from reducing a gradient that is not complete; FSDP reduces each part, since it holds no whole one."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()
