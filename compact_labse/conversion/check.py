"""Are a converted folder's vectors those of its source? SavedModels are run, checkpoints computed in TensorFlow.

Shapes: B batch, T tokens, D dimension, H hidden size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compact_labse import sample
from compact_labse.errors import GateError
from compact_labse.tokens import Tokens, pad

if TYPE_CHECKING:
    from compact_labse.conversion.bert_checkpoint import Bert
    from compact_labse.torch_encoder import TorchEncoder

LEAST = 0.99999  # cosine between the source's vectors and the folder's
CHECKED = 4  # sentences of each language that are compared
LENGTH = 64  # tokens that they are cut at


def require_same(worst: float, out: Path, source: Path) -> float:
    """The worst cosine, or the GateError that says that it is too low."""
    if not worst >= LEAST:
        raise GateError(f"{out} was not written: its vectors are at cosine {worst:.7f} to those of {source}")
    return worst


def with_pooler(source: Path, batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """What transformers' own pooler gives."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(source), local_files_only=True, trust_remote_code=False).eval()
    ids, mask = map(torch.from_numpy, batch)
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).pooler_output.numpy()


def worst_cosine(written: TorchEncoder, bert: Bert, source: Path, pooling: str, *, copied: bool) -> float:
    """The worst cosine of a folder's vectors to the source's, over texts of every language.

    A SavedModel is run as well; `copied` says that the pooler is not the one that it was saved with.
    """
    worst = hidden_cosine(written, bert)
    if not (source / "saved_model.pb").is_file():
        return worst
    return min(worst, _outputs(written, source, pooling, copied=copied))


def batch_of(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask `[B, T]` of a few sentences of every language."""
    texts = [text for group in sample.parallel("test").values() for text in group[:CHECKED]]
    return pad([row[:LENGTH] for row in tokens.ids(texts)], tokens.pad_id)


def hidden_cosine(encoder: TorchEncoder, bert: Bert) -> float:
    """The worst cosine of any real token's last hidden state, PyTorch against TensorFlow."""
    import torch

    from compact_labse.conversion.bert_forward import forward
    from compact_labse.formats.gates.agreement import cosines

    ids_BT, mask_BT = batch_of(encoder.tokens)
    with torch.inference_mode():
        ours = encoder.module.body(torch.from_numpy(ids_BT), torch.from_numpy(mask_BT)).numpy()
    theirs = forward(bert, ids_BT, mask_BT)
    return float(cosines(ours[mask_BT == 1], theirs[mask_BT == 1]).min())


def _outputs(encoder: TorchEncoder, source: Path, pooling: str, *, copied: bool) -> float:
    """The worst cosine to what a SavedModel gives when it is run: `pooled_output`, or pooled `sequence_output`."""
    import tensorflow as tf
    import torch

    from compact_labse.formats.gates.agreement import cosines
    from compact_labse.pooling import pool
    from compact_labse.saved_model_encoder import INPUTS, load_graph

    ids_BT, mask_BT = batch_of(encoder.tokens)
    feed = dict(zip(INPUTS, (ids_BT, mask_BT, 0 * ids_BT), strict=True))
    found = load_graph(source)({name: tf.constant(array, tf.int32) for name, array in feed.items()}, training=False)
    if pooling != "pooler":
        sequence = torch.from_numpy(found["sequence_output"].numpy())
        theirs = pool(sequence, torch.from_numpy(mask_BT), (pooling,)).numpy()
        return float(cosines(encoder.forward(ids_BT, mask_BT), theirs).min())
    if copied:
        return 1.0  # the dense layer is not the SavedModel's
    return float(cosines(encoder.forward(ids_BT, mask_BT), found["pooled_output"].numpy()).min())
