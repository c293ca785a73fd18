"""`compact-labse data mlm`: masked examples in files, as BERT's pretraining reads them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  compact-labse data mlm wiki/*.txt pairs/ --tokenizer bert --out examples.tfrecord --dupe-factor 5

Text files hold a sentence per line and an empty line between documents, which are packed and split as BERT's
create_pretraining_data does; a pair of a .tsv, .jsonl, .parquet or .tfrecord file is a row of two segments (translation
language modelling). TensorFlow Model Garden's BertPretrainDataLoader reads the .tfrecord as it is. Underscores work as
well as dashes: --max_seq_length.
"""

HELP = {
    "max_seq_length": "tokens of a row, special ones included; shorter rows are filled up",
    "max_predictions_per_seq": "most masked tokens of a row",
    "masked_lm_prob": "share of a row's tokens that are masked",
    "dupe_factor": "how often the text is gone through, with other masks and splits",
    "short_seq_prob": "share of rows of text that aim at a random shorter length",
    "random_seed": "decides everything that is random",
}


def add_action(actions: Any) -> None:
    """Declare `data mlm`."""
    parser = actions.add_parser(
        "mlm",
        help="write masked examples for pretraining",
        description="Make masked examples of text and of translation pairs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="files, folders, globs: documents or pairs")
    parser.add_argument("--tokenizer", required=True, type=Path, metavar="DIR", help="a model folder's tokenizer")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help=".tfrecord (.gz, .zst, .xz, .bz2 compress) or .parquet"
    )
    defaults = {
        "max_seq_length": 128, "max_predictions_per_seq": 20, "masked_lm_prob": 0.15, "dupe_factor": 10,
        "short_seq_prob": 0.1, "random_seed": 12345,
    }  # fmt: skip
    for name, default in defaults.items():
        options = (f"--{name.replace('_', '-')}", f"--{name}")
        text = f"{HELP[name]} (default %(default)s)"
        parser.add_argument(*options, type=type(default), default=default, metavar="N", help=text)
    whole = ("--do-whole-word-mask", "--do_whole_word_mask", "--whole-words")
    parser.add_argument(*whole, action="store_true", help="mask all pieces of a word together")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists (default: refuse)")


def run(args: argparse.Namespace) -> int:
    """Write the examples and say how many there are."""
    from compact_labse.progress import say
    from compact_labse.tokens import Tokens
    from compact_labse.training.mlm_examples import ExamplesConfig, examples
    from compact_labse.training.mlm_files import check_name, read_documents, write_examples
    from compact_labse.writing import check_new

    config = ExamplesConfig(**{field.name: getattr(args, field.name) for field in fields(ExamplesConfig)})
    check_name(args.out)
    check_new(args.out, args.overwrite)
    tokenizer = Tokens.from_folder(args.tokenizer).tokenizer
    documents = read_documents(args.inputs, tokenizer)
    count = write_examples(examples(documents, tokenizer, config), args.out)
    say(f"{count:,} examples of {len(documents):,} documents written to {args.out}")
    return 0
