"""Time a plain encoder at one shape, in this process: `python -m compact_labse.measure.speed.plain` prints it as JSON.

Inference is the forward pass; training is forward, backward and an AdamW step over all parameters.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.errors import UserError, require
from compact_labse.measure.environment import resident_bytes
from compact_labse.measure.speed.latency import MARK, repeat

MODES = ("inference", "training")
SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is run: `batch` rows of `tokens` tokens, in one of the `MODES`."""

    mode: str
    batch: int
    tokens: int

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")


def measure(model: Path, shape: Shape, threads: int, seconds: float = SECONDS) -> dict[str, Any]:
    """Median milliseconds of a call, the peak of resident memory, and what of it was there before the model (bytes)."""
    torch, transformers = require("torch", "train"), require("transformers", "train")
    torch.set_num_threads(threads)
    _import_architecture(transformers, model)
    torch.ones(8, 8, requires_grad=True).matmul(torch.ones(8, 8)).sum().backward()
    baseline = resident_bytes()["now"]
    encoder = build(model)
    limit = getattr(encoder.config, "max_position_embeddings", shape.tokens)
    if shape.tokens > limit:
        raise UserError(f"not measured: the model takes at most {limit} tokens, not {shape.tokens}")
    torch.manual_seed(0)
    ids_BT = torch.randint(0, encoder.config.vocab_size, (shape.batch, shape.tokens))
    call = _step(torch, encoder, ids_BT) if shape.mode == "training" else _forward(torch, encoder, ids_BT)
    times = repeat(call, seconds, fewest=3)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return {"ms": median(times), "calls": len(times), "raw": times[:200], "baseline": baseline,
            "peak": resident_bytes()["peak"], "parameters": parameters}  # fmt: skip


def _import_architecture(transformers: Any, model: Path) -> None:
    """Import what the model is made of now: it is the library's memory, not the model's."""
    with suppress(OSError, ValueError, KeyError, AttributeError):  # `build` says it better
        config = transformers.AutoConfig.from_pretrained(model)
        transformers.AutoModel._model_mapping[type(config)]


def build(model: Path) -> Any:
    """A stock model with the weights of its folder, or random ones if there is only a `config.json`."""
    transformers = require("transformers", "train")
    folder = model if model.is_dir() else model.parent
    weights = model.is_dir() and (any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")))
    try:
        config = transformers.AutoConfig.from_pretrained(model)
        if weights:
            return transformers.AutoModel.from_pretrained(folder)
        return transformers.AutoModel.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{model} is not a model that transformers can build: {str(error).splitlines()[0]}") from error


def _forward(torch: Any, encoder: Any, ids_BT: Any) -> Callable[[], object]:
    encoder.eval()

    def call() -> object:
        with torch.inference_mode():
            return encoder(input_ids=ids_BT)

    return call


def _step(torch: Any, encoder: Any, ids_BT: Any) -> Callable[[], object]:
    encoder.train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-5)

    def call() -> object:
        optimizer.zero_grad()
        loss = encoder(input_ids=ids_BT).last_hidden_state.float().square().mean()
        loss.backward()
        return optimizer.step()

    return call


def main(argv: Sequence[str]) -> int:
    """Read one request (JSON: model, shape, threads) and print the values, or {"error": ...}."""
    request = json.loads(argv[0])
    try:
        found = measure(Path(request["model"]), Shape(**request["shape"]), request["threads"])
    except UserError as error:
        found = {"error": str(error)}
    print(f"\n{MARK}{json.dumps(found)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
