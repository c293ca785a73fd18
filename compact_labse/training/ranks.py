"""The processes that train together: gathering with gradient, agreeing, and noticing that one of them is gone.

Without `torchrun` there is one rank and nothing here communicates. Everything goes through torch.distributed, whose
backend follows the device; torch_xla registers itself there as one more ("xla", of which no run has been seen).

Shapes: B rows of a rank, G rows of all ranks in the order of ranks, D dimension.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from compact_labse.errors import UserError, require
from compact_labse.progress import say

T = TypeVar("T")

BACKENDS = {"cpu": "gloo", "cuda": "nccl", "xla": "xla"}
PATIENCE = timedelta(days=7)  # preparing a corpus takes as long as it takes, and a dead rank is noticed at once
SIGNS_OF_A_LOST_RANK = ("gloo", "nccl", "connection", "timed out", "timeout", "socket")

# Two more groups, of gloo: for what is no tensor of the device, and for waiting without a limit.
_control: Any = None
_waiting: Any = None


def rank() -> int:
    """The number of this process among those that train together."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def say_first(message: str) -> None:
    """A line of progress, from the first process alone."""
    if is_first():
        say(message)


def own_device(device: torch.device) -> torch.device:
    """This rank's accelerator by its number: other threads than the one that joined know no other."""
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


@contextmanager
def together(device: torch.device, timeout_s: float) -> Iterator[None]:
    """Join the processes that `torchrun` (or `accelerate launch`) started beside this one; alone, do nothing.

    A rank that does not answer for `timeout_s` seconds, or has died, is a UserError in the others.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    _join(device, timedelta(seconds=timeout_s))
    with explained(timeout_s):
        yield
    dist.destroy_process_group()


@contextmanager
def explained(timeout_s: float) -> Iterator[None]:
    """Turn what the backends raise when a rank is gone into a UserError."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if not any(sign in text for sign in SIGNS_OF_A_LOST_RANK):
            raise
        raise UserError(
            f"rank {rank()} of {world()} lost another one, which died or did not answer for {timeout_s:g} s; its own "
            "message says why. Give the same command again to go on from the last checkpoint (torchrun --max-restarts "
            "does so by itself)"
        ) from error


def after_first(make: Callable[[], T]) -> T:
    """What `make` gives: the first rank calls it alone, then the others, who find what it has left on disk."""
    if world() == 1:
        return make()
    made = make() if is_first() else None
    dist.barrier(group=_waiting)
    return made if is_first() else make()  # type: ignore[return-value]


def from_first(value: T) -> T:
    """The first rank's value (anything that pickles), on every rank."""
    if world() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_control)
    return values[0]


def from_all(value: T) -> list[T]:
    """Every rank's value, on every rank."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value, group=_control)
    return values


def any_of(flags: Sequence[bool]) -> list[bool]:
    """Each flag, true where it is true on some rank."""
    if world() == 1:
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(raised, dist.ReduceOp.MAX, group=_control)
    return raised.bool().tolist()


def check_same(shape: Sequence[int], what: str) -> None:
    """UserError on every rank unless `shape` is the same on all: gathering unequal shapes aborts or hangs."""
    if world() == 1:
        return
    own = torch.tensor(list(shape))
    parts = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(parts, own, group=_control)
    if any(not torch.equal(own, part) for part in parts):
        shapes = ", ".join(f"rank {number}: {part.tolist()}" for number, part in enumerate(parts))
        raise UserError(f"the ranks' {what} differ in shape and cannot be gathered ({shapes}): give each as many pairs")


def gather(own_BX: Tensor) -> Tensor:
    """All ranks' rows `[G, ...]`, through which gradients flow back to the rank that each row came from.

    With the loss a mean over own rows against all columns, the sum over ranks of d loss / d row is the whole batch's
    gradient times the number of ranks, which is the factor by which DDP's and FSDP's averages divide it.
    """
    return own_BX if world() == 1 else _Gather.apply(own_BX)


def gather_values(own_BX: Tensor) -> Tensor:
    """All ranks' rows `[G, ...]`, without gradient."""
    if world() == 1:
        return own_BX
    parts = [torch.empty_like(own_BX) for _ in range(world())]
    dist.all_gather(parts, own_BX.contiguous())
    return torch.cat(parts)


def mean_of(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each number's mean over the ranks, for the log."""
    if world() == 1 or not values:
        return values
    stacked = torch.stack([value.detach().float().reshape(()) for value in values.values()])
    dist.all_reduce(stacked)
    return dict(zip(values, (stacked / world()).unbind(), strict=True))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which each rank may hold a part (FSDP): to be called on every rank."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def part_like(tensor: Tensor, own: Tensor) -> Tensor:
    """What of a whole tensor this rank holds in `own`'s place, on its device."""
    tensor = tensor.to(own.device)
    if not hasattr(own, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(own, DTensor)
    return distribute_tensor(tensor, own.device_mesh, own.placements)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own_BX: Tensor) -> Tensor:
        ctx.rows = len(own_BX)
        return gather_values(own_BX)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient_GX = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient_GX)
        return gradient_GX[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def _join(device: torch.device, timeout: timedelta) -> None:
    global _control, _waiting
    if device.type not in BACKENDS:
        raise UserError(f"several ranks can train on {', '.join(BACKENDS)}; loop.device is {device.type!r}")
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "xla":
        require("torch_xla.distributed.xla_backend", "train")
        dist.init_process_group("xla", init_method="xla://", timeout=timeout)
    else:
        store, number, count = next(dist.rendezvous("env://", timeout=timeout))
        store = dist.PrefixStore(_attempt(), store)
        dist.init_process_group(BACKENDS[device.type], store=store, rank=number, world_size=count, timeout=timeout)
    _control = dist.new_group(backend="gloo", timeout=timeout)
    _waiting = dist.new_group(backend="gloo", timeout=PATIENCE)


def _attempt() -> str:
    """What keeps the addresses of ranks that `torchrun` started again from those of the dead ones before them.

    On one machine it hands out the same store once more (torch 2.13), and now and then a new rank waits for a dead one
    for ever. Among several machines the store is a new one, and their counts of restarts need not agree.
    """
    alone = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}" if alone else "all"
