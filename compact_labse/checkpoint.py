"""Checkpoints: everything that a run needs to go on as if it had never stopped, without a pickle."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compact_labse.errors import UserError
from compact_labse.folder import writing_folder

LAST, BEST = "last", "best"


@dataclass
class Progress:
    """How far a run is: steps done, seconds spent, and its best evaluation so far."""

    step: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    best_step: int = 0
    finished: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: Path, module: nn.Module, optimizer: dict[str, Tensor], progress: Progress, key: str
) -> None:
    """Replace `<folder>/last` by the present state; a kill at any moment leaves the old or the new one whole."""
    with writing_folder(folder / LAST, overwrite=True) as temporary:
        save_file(_contiguous(module.state_dict()), temporary / "weights.safetensors")
        save_file(_contiguous(optimizer | _random_states()), temporary / "optimizer.safetensors")
        (temporary / "progress.json").write_text(json.dumps({"key": key, **vars(progress)}, indent=2))


def load_checkpoint(
    folder: Path, module: nn.Module, key: str, *, replace: bool = False
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Put the last checkpoint's weights into `module`, set the random states; gives progress and optimizer tensors.

    None when there is no checkpoint. A checkpoint made for other settings (`key`) is a UserError, or with `replace` is
    left aside, to be replaced by the next one.
    """
    last = folder / LAST
    if not (last / "progress.json").is_file():
        return None
    try:
        stored = json.loads((last / "progress.json").read_text())
        weights, optimizer = load_file(last / "weights.safetensors"), load_file(last / "optimizer.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the checkpoint {last} is damaged ({error}); delete it to start again") from error
    if stored.pop("key") != key:
        if replace:
            return None
        raise UserError(
            f"the checkpoint {last} belongs to other settings or data; give the same settings to go on with it, "
            "or start again with --overwrite true or another --out"
        )
    module.load_state_dict(weights)
    _set_random_states(optimizer)
    return Progress(**stored), optimizer


def save_best(folder: Path, module: nn.Module) -> None:
    """Replace `<folder>/best` by the present weights."""
    with writing_folder(folder / BEST, overwrite=True) as temporary:
        save_file(_contiguous(module.state_dict()), temporary / "weights.safetensors")


def load_best(folder: Path, module: nn.Module) -> bool:
    """Put the best weights into `module`; False when no evaluation has saved any."""
    path = folder / BEST / "weights.safetensors"
    if path.is_file():
        module.load_state_dict(load_file(path))
    return path.is_file()


def clear(folder: Path) -> None:
    """Delete the checkpoints of a run."""
    for name in (LAST, BEST):
        shutil.rmtree(folder / name, ignore_errors=True)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _random_states() -> dict[str, Tensor]:
    states = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random/cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors.pop("random/cpu"))
    cuda = tensors.pop("random/cuda", None)
    if cuda is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda)
