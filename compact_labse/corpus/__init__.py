"""Corpora: read, clean, deduplicate, decontaminate, sample and split pairs and monolingual text, as streams."""

from __future__ import annotations

from compact_labse.corpus.records import Pair

__all__ = ["Pair"]
