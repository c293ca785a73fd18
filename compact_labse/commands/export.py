"""`compact-labse export`: write a model for other runtimes, through the gates."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.formats.contract import ALL, FILES, TFLITE_FILES

EXAMPLE = """\
example:
  compact-labse export runs/student --onnx --int8
  compact-labse export minilm --onnx --tflite --fp32 --int8 --out exported
  compact-labse export runs/student --onnx --tflite --saved-model --all --out exported

An artifact gets its name only if it agrees with MODEL in every language, alone and in padded batches. What was
measured stands in parity.json beside it; a failed gate names the worst sentence, nothing of that runtime is written,
and the exit code is 3. Several runtimes are written one after the other: those that were finished before stay.
"""
RUNTIMES = {"onnx": "ONNX Runtime", "tflite": "LiteRT", "saved_model": "TensorFlow"}
FORMATS = {
    "fp32": "float32, exact; what is written if no other is asked for",
    "fp16": "float16 weights: half the size, computed in float32",
    "int8": "8-bit weights and table: a quarter of the size, 2-5x the speed",
    "int4": "4-bit table, 8-bit weights: smaller, a little less exact",
    "int3": "3-bit table, 8-bit weights: smaller still (ONNX)",
    "int2": "2-bit table, for students that were trained with student.bits 2 (ONNX)",
    "int8-static": "activations in fixed ranges too (ONNX, TFLite): less exact than --int8, for runtimes that want it",
    "int8-dynamic": "one scale for a whole batch (ONNX): not batch-invariant",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("model", metavar="MODEL", help='a model folder, a Hugging Face name, or "minilm"')
    runtimes = parser.add_argument_group("runtimes (at least one)")
    runtimes.add_argument("--onnx", action="store_true", help="onnx/: ONNX Runtime and everything that reads ONNX")
    runtimes.add_argument("--tflite", action="store_true", help="tflite/: LiteRT, on phones and without TensorFlow")
    runtimes.add_argument("--saved-model", action="store_true", help="saved_model/: TensorFlow, TF Hub, TF Serving")
    formats = parser.add_argument_group("formats (default: --fp32)")
    for name, text in FORMATS.items():
        formats.add_argument(f"--{name}", action="store_true", help=text)
    formats.add_argument("--all", action="store_true", help="every format of each runtime that suits the model")
    _add_onnx(parser.add_argument_group("for --onnx"))
    _add_tflite(parser.add_argument_group("for --tflite"))
    _add_saved_model(parser.add_argument_group("for --saved-model"))
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="DIR", type=Path, help="a new folder for all runtimes (default: beside MODEL's weights)"
    )
    output.add_argument(
        "--overwrite",
        action="store_true",
        help="write these runtimes anew, and DIR if it is an export of another model (default: refuse)",
    )
    gates = parser.add_argument_group("gates")
    gates.add_argument(
        "--loosen", metavar="GATE=VALUE", action="append", default=[], help="lower a gate; recorded (default: none)"
    )
    gates.add_argument("--reason", metavar="TEXT", default="", help="why the gates are loosened; recorded")


def _add_onnx(group: Any) -> None:
    group.add_argument("--allow-batch-variant", action="store_true", help="write --int8-dynamic all the same, marked")
    group.add_argument(
        "--recipe",
        metavar="NAME",
        help="how to store linear layers: rows, blocks-128, blocks-64, blocks-32; in 4 bits: blocks4-32 (default: the "
        "fastest of 8 bits that passes)",
    )
    group.add_argument(
        "--aliases", action="store_true", help="int8 and int4 under transformers.js' names too (hard links; in --all)"
    )
    group.add_argument(
        "--string-in",
        metavar="LANGUAGES",
        help="with a tokenizer inside too (onnxruntime-extensions, WordPiece), if its ids are right in en,de,...",
    )
    group.add_argument("--ort", action="store_true", help="each file in ORT format too, for phones (in --all)")
    group.add_argument(
        "--external-data",
        action="store_true",
        help="weights in a second file, which is mapped into memory, not read (default: only above 1 GB)",
    )


def _add_tflite(group: Any) -> None:
    group.add_argument(
        "--mediapipe",
        action="store_true",
        help="each file for MediaPipe's TextEmbedder too: 128 tokens, the vocabulary inside; uncased WordPiece models",
    )
    group.add_argument(
        "--converter",
        choices=("tensorflow", "litert_torch"),
        help="what converts: any shape, or fixed lengths without TensorFlow (default: the first that is installed)",
    )


def _add_saved_model(group: Any) -> None:
    group.add_argument(
        "--export-type",
        action="append",
        choices=("model", "model_with_mlm", "preprocessing", "serving"),
        help="what to write; may be repeated (default: model; with --all: model, preprocessing, serving)",
    )
    group.add_argument(
        "--pooler",
        choices=("sentence", "dense", "untrained", "identity"),
        help="what pooled_output is: the sentence vector, BERT's dense layer on the first token, an untrained one, "
        "or the first token as it is (default: sentence)",
    )
    group.add_argument(
        "--copy-pooler-dense-to-encoder", action="store_true", help="--pooler dense, as export_tfhub says it"
    )
    group.add_argument(
        "--no-normalize", action="store_true", help="leave vectors the length that they have before the last step"
    )
    group.add_argument(
        "--do-lower-case",
        action=argparse.BooleanOptionalAction,
        help="what the root's do_lower_case says (default: what the tokenizer does)",
    )
    group.add_argument(
        "--default-seq-length",
        metavar="N",
        type=int,
        default=128,
        help="tokens of preprocessed texts (default: 128, or what the model takes)",
    )


# What --loosen may lower; the length of vectors may not be lowered, nor equal ids but for SavedModels.
GATES = ("worst_cosine", "language_cosine", "neighbours", "language_neighbours", "invariance", "tokens")


def run(args: argparse.Namespace) -> int:
    """Export for one runtime after the other, and say where to."""
    from compact_labse.pipelines import load_pipeline

    chosen = [runtime for runtime in RUNTIMES if getattr(args, runtime)]
    if not chosen:
        raise UserError("name the runtime to export for: --onnx, --tflite, --saved-model, or several")
    if args.loosen and not args.reason.strip():
        raise UserError("gates are loosened only for a reason, which is recorded: --reason TEXT")
    jobs = []
    for runtime in chosen:  # all settings are checked before anything is written
        pipeline = load_pipeline("export", f"{runtime}_export")
        jobs.append((pipeline, CONFIGS[runtime](pipeline, args, _shared(args, runtime))))
    for pipeline, config in jobs:
        pipeline.run(config)
    return 0


def _shared(args: argparse.Namespace, runtime: str) -> dict[str, Any]:
    """What every runtime's configuration has."""
    gates = dict(map(_gate, args.loosen))
    if "tokens" in gates and not args.saved_model:
        raise UserError("the gate tokens can only be lowered for --saved-model, whose tokenizer is written anew")
    return {
        "model": args.model,
        "out": args.out,
        "loosen": {name: value for name, value in gates.items() if name != "tokens" or runtime == "saved_model"},
        "reason": args.reason,
        "overwrite": args.overwrite,
    }


def _onnx(pipeline: Any, args: argparse.Namespace, shared: dict[str, Any]) -> Any:
    return pipeline.OnnxExport(
        formats=_formats(args, "onnx", FILES),
        skip_unsuitable=args.all,
        recipe=args.recipe,
        allow_batch_variant=args.allow_batch_variant,
        external_data=args.external_data,
        aliases=args.aliases or args.all,
        ort=args.ort or args.all,
        string_in=tuple(filter(None, (args.string_in or "").split(","))),
        **shared,
    )


def _tflite(pipeline: Any, args: argparse.Namespace, shared: dict[str, Any]) -> Any:
    return pipeline.TFLiteExport(
        formats=_formats(args, "tflite", TFLITE_FILES),
        skip_unsuitable=args.all,
        mediapipe=args.mediapipe,
        converter=args.converter,
        **shared,
    )


def _saved_model(pipeline: Any, args: argparse.Namespace, shared: dict[str, Any]) -> Any:
    named = [name for name in FORMATS if getattr(args, name.replace("-", "_")) and name != "fp32"]
    if named and not (args.onnx or args.tflite):
        raise UserError(f"SavedModels are float32 only: leave out {', '.join('--' + name for name in named)}")
    types = args.export_type or (("model", "preprocessing", "serving") if args.all else ("model",))
    copied = "dense" if args.copy_pooler_dense_to_encoder else None
    if copied and args.pooler not in (None, copied):
        raise UserError(f"--copy-pooler-dense-to-encoder is --pooler dense, not {args.pooler}: name one of them")
    return pipeline.SavedModelExport(
        types=tuple(dict.fromkeys(types)),
        pooler=args.pooler or copied or "sentence",
        normalize=not args.no_normalize,
        do_lower_case=args.do_lower_case,
        default_seq_length=args.default_seq_length,
        **shared,
    )


CONFIGS: dict[str, Callable[[Any, argparse.Namespace, dict[str, Any]], Any]] = {
    "onnx": _onnx,
    "tflite": _tflite,
    "saved_model": _saved_model,
}


def _formats(args: argparse.Namespace, runtime: str, known: dict[str, str]) -> tuple[str, ...]:
    """The formats named on the command line that a runtime has; UserError if it has none of them."""
    from compact_labse.progress import say

    named = [name for name in FORMATS if getattr(args, name.replace("-", "_"))]
    if args.all:
        named = [name for name in FORMATS if name in (*ALL, *named)]
    found = tuple(name for name in named if name in known)
    absent = [name for name in named if name not in known]
    if named and not found:
        raise UserError(f"--{runtime} has no {' nor '.join(absent)}; it has {', '.join(known)}")
    if absent:
        say(f"{RUNTIMES[runtime]} has no {', '.join(absent)}: skipped there")
    return found or ("fp32",)


def _gate(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    name = name.strip().replace("-", "_")
    try:
        found = float(value)
    except ValueError as error:
        raise UserError(f"--loosen takes GATE=VALUE such as worst_cosine=0.97, got {text!r}") from error
    if name not in GATES:
        raise UserError(f"unknown gate {name!r}, expected one of {', '.join(GATES)}")
    return name, found
