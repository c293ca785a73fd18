"""Turn a large multilingual sentence encoder into a small one that runs on every edge runtime, with the evidence.

`compact_labse.load("default")` gives the encoder that ships inside the package. Importing the package is cheap: numpy,
torch, ONNX Runtime and friends are imported only by the parts that use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compact_labse.errors import UserError

if TYPE_CHECKING:
    from compact_labse.encoder import Encoder, load

__version__ = "0.1.0"

__all__ = ["Encoder", "UserError", "__version__", "load"]

_LAZY = ("Encoder", "load")


def __getattr__(name: str) -> object:
    """Import `load` and `Encoder` on first use, so that `import compact_labse` costs milliseconds."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from compact_labse import encoder

    return getattr(encoder, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
