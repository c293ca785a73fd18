"""The names that the package offers."""

from __future__ import annotations

import pytest

from compact_labse import corpus


def test_every_name_is_there() -> None:
    assert all(callable(getattr(corpus, name)) for name in corpus.__all__)
    with pytest.raises(AttributeError, match=r"module 'compact_labse\.corpus' has no attribute 'reed_pairs'"):
        corpus.reed_pairs  # noqa: B018
