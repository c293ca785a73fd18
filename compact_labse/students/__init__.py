"""Students: small encoders that are trained, then saved as sentence-transformers folders.

Everything but their configuration is imported on first use, because it needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from compact_labse.students.config import StudentConfig

if TYPE_CHECKING:
    from compact_labse.students.ragged import lengths_of
    from compact_labse.students.saving import save_student
    from compact_labse.students.start import Student, keep_of_start, new_student
    from compact_labse.students.static import StaticStudent
    from compact_labse.students.transformer import TransformerStudent

__all__ = [
    "StaticStudent",
    "Student",
    "StudentConfig",
    "TransformerStudent",
    "keep_of_start",
    "lengths_of",
    "new_student",
    "save_student",
]

_PLACES = {
    "StaticStudent": "static",
    "Student": "start",
    "TransformerStudent": "transformer",
    "keep_of_start": "start",
    "lengths_of": "ragged",
    "new_student": "start",
    "save_student": "saving",
}


def __getattr__(name: str) -> object:
    """Import what needs torch when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
