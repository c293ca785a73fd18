"""The names that the package offers."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from compact_labse import corpus


def test_every_name_is_what_type_checkers_take_it_for() -> None:
    """They read the imports for them alone; the program looks through the modules in an order of its own."""
    told = {}
    for node in ast.walk(ast.parse(Path(corpus.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("compact_labse."):
            told |= {name.name: getattr(importlib.import_module(str(node.module)), name.name) for name in node.names}
    assert sorted(told) == sorted(corpus.__all__)
    assert {name: getattr(corpus, name) for name in told} == told


def test_a_wrong_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'compact_labse\.corpus' has no attribute 'reed_pairs'"):
        corpus.reed_pairs  # noqa: B018
