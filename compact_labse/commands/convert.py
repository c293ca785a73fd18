"""`compact-labse convert`: checkpoints and SavedModels of others into a model folder, a folder into a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from compact_labse.errors import UserError

EXAMPLE = """\
example:
  compact-labse convert multi_cased_L-12_H-768_A-12 --out bert --pooling mean       # a TF1 checkpoint
  compact-labse convert labse/ckpt-1 --config labse/bert_config.json --vocab-file labse/vocab.txt \\
      --pooling pooler --out labse-folder                                          # a TF2 checkpoint of Model Garden
  compact-labse convert saved_model/LaBSE --pooling pooler --out labse-folder      # a SavedModel encoder of TF Hub
  compact-labse convert labse-folder --to-tf2 labse-tf2                            # and back

The folder gets its name only if its vectors are the source's (cosine 0.99999): a SavedModel is run, a checkpoint is
computed in TensorFlow from its own tensors. The exit code is 3 if they are not.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "source", metavar="SOURCE", type=Path, help="a checkpoint (prefix or folder), a SavedModel or a model folder"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", metavar="DIR", type=Path, help="the model folder to write")
    target.add_argument("--to-tf2", metavar="DIR", type=Path, help="write SOURCE, a BERT folder, as a TF2 checkpoint")
    parser.add_argument(
        "--pooling",
        choices=("cls", "mean", "max", "pooler"),
        help="the sentence's vector: first token, mean, maximum, or BERT's dense layer on the first token",
    )
    parser.add_argument("--vocab-file", metavar="FILE", type=Path, help="WordPiece vocabulary (default: beside SOURCE)")
    parser.add_argument(
        "--do-lower-case",
        action=argparse.BooleanOptionalAction,
        help="lower-case text (default: what a SavedModel says, else whether the path says 'uncased')",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="bert_config.json or Model Garden's YAML (default: beside SOURCE)"
    )
    parser.add_argument(
        "--max-tokens", metavar="N", type=int, help="cut texts here (default: the position table's end)"
    )
    parser.add_argument(
        "--copy-pooler-dense-to-encoder",
        action="store_true",
        help="take the pooler of the pretrainer's next-sentence head, not the encoder's",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace DIR if it exists (default: refuse)")


def run(args: argparse.Namespace) -> int:
    """Convert and say where to."""
    from compact_labse.conversion.convert import Conversion, convert
    from compact_labse.conversion.to_tf2 import to_tf2

    if args.to_tf2 is not None:
        if args.pooling is not None or args.vocab_file is not None or args.config is not None:
            raise UserError("--to-tf2 takes everything from the folder: pass no --pooling, --vocab-file or --config")
        to_tf2(args.source, args.to_tf2, overwrite=args.overwrite)
        return 0
    convert(
        Conversion(
            source=args.source,
            out=args.out,
            pooling=args.pooling,
            vocab_file=args.vocab_file,
            do_lower_case=args.do_lower_case,
            config=args.config,
            max_tokens=args.max_tokens,
            copy_pooler=args.copy_pooler_dense_to_encoder,
            overwrite=args.overwrite,
        )
    )
    return 0
