"""What training a compressed model further from its original mended.

Shapes: N texts, E the original's dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.compress.calibration import damage
from compact_labse.encoder import Encoder
from compact_labse.pairs import Pairs
from compact_labse.progress import say
from compact_labse.torch_encoder import TorchEncoder

TEXTS = 256


def compared(original: Encoder, pairs: Pairs, before: Path, after: Path) -> dict[str, Any]:
    """Damage of the model folders `before` and `after` against the original, said and given for the lineage.

    On held-out sources, or where there are none on some that training drew from like any others.
    """
    held = np.unique(pairs.unique[np.asarray(pairs.heldout_rows)])
    known = held if len(held) >= TEXTS else np.unique(pairs.unique[np.asarray(pairs.train_rows)])
    places = np.linspace(0, len(known) - 1, min(TEXTS, len(known))).astype(int)
    texts = pairs.source.texts(pairs.first[known[places]])
    wanted_NE = original.encode(texts)
    moved = [damage(wanted_NE, TorchEncoder.open(folder, device="cpu").encode(texts)) for folder in (before, after)]
    kind = "held-out" if known is held else "training"
    say(f"damage {moved[0]:.4f} before, {moved[1]:.4f} now, on {len(texts)} {kind} texts")
    return {"healing": {"before": moved[0], "after": moved[1], "texts": len(texts), "held_out": known is held}}
