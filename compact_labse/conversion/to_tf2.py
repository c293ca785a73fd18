"""Our folders as TensorFlow checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers.models import WordPiece

from compact_labse.conversion.check import hidden_cosine, require_same
from compact_labse.conversion.modules import write_json
from compact_labse.errors import UserError, require
from compact_labse.folder import model_hash, write_lineage, writing_folder
from compact_labse.progress import say

if TYPE_CHECKING:
    from compact_labse.conversion.bert_checkpoint import Bert
    from compact_labse.torch_encoder import TorchEncoder

LOWER = "do_lower_case"  # not a setting of BERT's, but the vocabulary is useless without it


def to_tf2(folder: Path, out: Path, *, overwrite: bool = False) -> Path:
    """Write a BERT folder as a TF2 checkpoint with `bert_config.json` and `vocab.txt`; UserError for other models."""
    require("tensorflow", "tensorflow")
    from compact_labse.conversion import bert_checkpoint
    from compact_labse.conversion.bert_write import write_tf2
    from compact_labse.formats.tf.tokenize import write_vocabulary
    from compact_labse.torch_encoder import TorchEncoder

    # A checkpoint holds no pooling, so a plain transformers folder, such as a pretrained one, needs none either.
    plain = not (folder / "modules.json").is_file()
    source = TorchEncoder.open(folder, pooling="mean" if plain else None, device="cpu")
    bert, pooler = _bert_of(source, folder)
    say(f"the pooler is {pooler}")
    with writing_folder(out, overwrite=overwrite) as temporary:
        write_tf2(bert, temporary / "bert_model.ckpt")
        lower = source.tokens.ids(["A"]) == source.tokens.ids(["a"])
        write_json(temporary / bert_checkpoint.CONFIG, {**bert.config, LOWER: lower})
        if isinstance(source.tokens.tokenizer.model, WordPiece):
            write_vocabulary(source.tokens.tokenizer, temporary)
        again = bert_checkpoint.read_bert(temporary / "bert_model.ckpt")
        hidden = require_same(hidden_cosine(source, again), out, folder)
        write_lineage(
            temporary, command="convert --to-tf2", config={"pooler": pooler}, inputs={str(folder): model_hash(folder)}
        )
    say(f"written: {out}; worst cosine of the weights' outputs to the source's {hidden:.7f}")
    return out


def _bert_of(source: TorchEncoder, folder: Path) -> tuple[Bert, str]:
    """The folder's BERT in TensorFlow's layout, and where its pooler came from."""
    from compact_labse.conversion import bert_names
    from compact_labse.conversion.bert_checkpoint import KEYS, Bert
    from compact_labse.heads import Dense
    from compact_labse.weights import read_weights

    transformer: Any = getattr(source.module.body, "transformer", None)
    if transformer is None or transformer.config.model_type != "bert":
        raise UserError(f"{folder} is no BERT, which is all that Model Garden's BERT checkpoints can hold")
    config = {name: value for name, value in transformer.config.to_dict().items() if name in KEYS}
    # the module has no head that no vector uses: its weights are in the file
    held = {name.removeprefix("bert."): array.numpy() for name, array in read_weights(folder).items()}
    state = {name: tensor.detach().float().numpy() for name, tensor in transformer.state_dict().items()}
    weights = bert_names.from_transformers(held | state, config["num_hidden_layers"])
    head = next((head for head in source.module.sentence_heads if isinstance(head, Dense)), None)
    size = config["hidden_size"]
    tanh = head is not None and type(head.activation).__name__ == "Tanh" and not head.add_input
    if head is not None and tanh and source.module.modes == ("cls",) and head.linear.weight.shape == (size, size):
        weights["pooler.kernel"] = head.linear.weight.detach().numpy().T
        weights["pooler.bias"] = head.linear.bias.detach().numpy()
        return Bert(config=config, weights=weights), "the folder's Dense on the first token"
    if "pooler.kernel" in weights:
        return Bert(config=config, weights=weights), "the one in the folder's weights"
    spread = np.random.default_rng(0).normal(0, config["initializer_range"], (size, size))
    weights |= {"pooler.kernel": spread.astype(np.float32), "pooler.bias": np.zeros(size, np.float32)}
    return Bert(config=config, weights=weights), "untrained, because the folder has none: take sequence_output"
