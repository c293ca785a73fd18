"""Checkpoints: everything that a run needs to go on as if it had never stopped, without a pickle.

The last `KEPT` are kept, each with the hashes of its files, and the best weights that they name. Several ranks write
one checkpoint: the first rank writes the whole weights and optimizer state and every rank's random state.
"""

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
from compact_labse.folder import sha256_file, writing_folder
from compact_labse.progress import say
from compact_labse.training import ranks
from compact_labse.writing import clear_leftovers

BEST, PREFIX, HASHES = "best-", "step-", "hashes.json"
WEIGHTS, OPTIMIZER, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.json"
KEPT = 2


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
    """Write the present state as `<folder>/step-N`; a kill at any moment leaves the one before it whole.

    To be called on every rank; only the newest `KEPT` remain.
    """
    weights, memory = whole_weights(module), _whole(optimizer)
    random = ranks.from_all(_random_states())
    if not ranks.is_first():
        return
    for number, states in enumerate(random):
        memory |= {f"random/{number}/{device}": state for device, state in states.items()}
    with writing_folder(folder / f"{PREFIX}{progress.step:09}", overwrite=True) as temporary:
        save_file(weights, temporary / WEIGHTS)
        save_file(memory, temporary / OPTIMIZER)
        (temporary / PROGRESS).write_text(json.dumps({"key": key, **vars(progress)}, indent=2))
        _write_hashes(temporary)
    _forget(folder, progress.step)


def load_checkpoint(
    folder: Path, module: nn.Module, key: str, *, replace: bool = False
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Put the newest whole checkpoint's weights into `module`, set the random states; gives progress and optimizer.

    None when there is no checkpoint. A damaged one is passed over with a warning for the one before; UserError if all
    are damaged. One that was made for other settings (`key`) is a UserError, or with `replace` is deleted. To be called
    on every rank.
    """
    found = ranks.from_first(_newest_whole(folder) if ranks.is_first() else None)
    if found is None:
        return None
    stored = json.loads((found / PROGRESS).read_text())
    if stored.pop("key") != key:
        if not replace:
            raise UserError(
                f"the checkpoint {found} belongs to other settings or data; give the same settings to go on with it, "
                "or start again with --overwrite true or another --out"
            )
        ranks.from_all(None)  # nobody deletes before all have read
        if ranks.is_first():
            clear(folder)
        return None
    _fill(module, load_file(found / WEIGHTS))
    optimizer = load_file(found / OPTIMIZER)
    _set_random_states({name: optimizer.pop(name) for name in list(optimizer) if name.startswith("random/")})
    return Progress(**stored), optimizer


def checkpoints(folder: Path) -> list[Path]:
    """The folders of a run's checkpoints, the newest first."""
    return sorted(folder.glob(f"{PREFIX}*"), reverse=True)


def save_best(folder: Path, module: nn.Module, step: int) -> None:
    """Write the present weights as `<folder>/best-N`. To be called on every rank.

    Those before them stay until no checkpoint names them: one that is older may be all that a killed run goes on from.
    """
    weights = whole_weights(module)
    if ranks.is_first():
        with writing_folder(folder / f"{BEST}{step:09}", overwrite=True) as temporary:
            save_file(weights, temporary / WEIGHTS)
            _write_hashes(temporary)


def load_best(folder: Path, module: nn.Module, progress: Progress) -> bool:
    """Put the weights of `progress.best_step` into `module`, which holds those of the last step.

    False, with a warning, where they are missing or damaged. To be called on every rank.
    """
    path = folder / f"{BEST}{progress.best_step:09}"
    damage = ranks.from_first(_damage(path) if ranks.is_first() else "")
    if damage:
        ranks.say_first(f"warning: the best weights {path} are damaged ({damage}); keeping the last step's instead")
        return False
    _fill(module, load_file(path / WEIGHTS))
    return True


def clear(folder: Path) -> None:
    """Delete the checkpoints of a run."""
    for path in [*folder.glob(f"{BEST}*"), *checkpoints(folder)]:
        shutil.rmtree(path, ignore_errors=True)


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """A module's state on the CPU, whole, on the first rank; empty on the others, which must call this too."""
    return _whole(module.state_dict())


def _newest_whole(folder: Path) -> Path | None:
    clear_leftovers(folder)  # a run that was killed need not come by a checkpoint of the same step again
    found = checkpoints(folder)
    for path in found:
        damage = _damage(path)
        if not damage:
            return path
        say(f"warning: the checkpoint {path} is damaged ({damage}); trying the one before it")
    if found:
        raise UserError(f"every checkpoint in {folder} is damaged; delete {folder} to start again")
    return None


def _forget(folder: Path, step: int) -> None:
    """Delete all but the newest `KEPT` checkpoints, of which that of `step` was just written, and what they name.

    One of a later step was passed over as damaged when the run went on, and is none of them.
    """
    found = checkpoints(folder)
    newest = found.index(folder / f"{PREFIX}{step:09}")
    kept = found[newest : newest + KEPT]
    named = {f"{BEST}{_best_step(path):09}" for path in kept}
    for old in [*(path for path in found if path not in kept), *folder.glob(f"{BEST}*")]:
        if old.name not in named:
            shutil.rmtree(old, ignore_errors=True)


def _best_step(path: Path) -> int:
    try:
        return int(json.loads((path / PROGRESS).read_text())["best_step"])
    except (OSError, ValueError, TypeError, KeyError):  # damaged meanwhile
        return 0


def _write_hashes(folder: Path) -> None:
    hashes = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    (folder / HASHES).write_text(json.dumps(hashes, indent=2))


def _damage(path: Path) -> str:
    """What is wrong with a checkpoint, or nothing."""
    if not path.is_dir():
        return "the folder is missing"
    try:
        hashes = json.loads((path / HASHES).read_text())
        return next((f"{name} has changed" for name, value in hashes.items() if sha256_file(path / name) != value), "")
    except (OSError, ValueError, SafetensorError, AttributeError) as error:
        return str(error)


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors on the CPU; on other ranks than the first, nothing is kept of them."""
    found = {}
    for name, tensor in tensors.items():
        full = ranks.whole(tensor.detach())
        if ranks.is_first():
            found[name] = full.cpu().contiguous()
    return found


def _fill(module: nn.Module, weights: dict[str, Tensor]) -> None:
    own = module.state_dict()
    module.load_state_dict({name: ranks.part_like(value, own[name]) for name, value in weights.items()})


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(tensors: dict[str, Tensor]) -> None:
    own = f"random/{ranks.rank()}/"
    if f"{own}cpu" not in tensors:  # there are more ranks than before, so that no run can be repeated to the bit
        torch.manual_seed(torch.initial_seed() + ranks.rank())
        return
    torch.set_rng_state(tensors[f"{own}cpu"])
    if f"{own}cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"{own}cuda"])
