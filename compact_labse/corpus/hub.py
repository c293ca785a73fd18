"""Hugging Face `datasets`, streamed: `hf:name[:config][:split]`."""

from __future__ import annotations

from collections.abc import Iterator

from compact_labse.corpus.columns import Columns
from compact_labse.corpus.files import HUB
from compact_labse.corpus.lines import Record
from compact_labse.corpus.records import BadLines
from compact_labse.errors import UserError, require

SPLITS = ("train", "validation", "valid", "dev", "test")


def parse_name(name: str) -> tuple[str, str | None, str]:
    """Dataset, configuration and split of `hf:name[:config][:split]`; the split is "train" unless named.

    In `hf:name:x`, `x` is a split if it is called like one (train, validation, valid, dev, test), else a configuration.
    """
    dataset, *rest = name.removeprefix(HUB).split(":")
    if not dataset or len(rest) > 2:
        raise UserError(f"{name!r} is not of the form hf:name[:config][:split]")
    if len(rest) == 1 and rest[0] in SPLITS:
        return dataset, None, rest[0]
    config, split = [*rest, "", ""][:2]
    return dataset, config or None, split or "train"


def hub_records(name: str, columns: Columns, bad: BadLines) -> Iterator[tuple[int, Record]]:
    """Example numbers from 1 and examples as dicts. Whatever `datasets` refuses is a UserError that names the set."""
    datasets = require("datasets", "train")
    dataset, config, split = parse_name(name)
    try:
        examples = datasets.load_dataset(dataset, config, split=split, streaming=True)
        yield from enumerate(examples, 1)
    except (OSError, ValueError, LookupError, datasets.exceptions.DatasetsError) as error:
        what = f"{dataset!r}" + (f", configuration {config!r}" if config else "") + f", split {split!r}"
        raise UserError(
            f"cannot load the Hugging Face dataset {what}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
