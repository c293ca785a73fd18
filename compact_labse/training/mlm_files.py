"""Files of documents in, files of masked examples out: what is around `mlm_examples`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from compact_labse.corpus.files import TEXT_KINDS, Source, find_sources, format_of
from compact_labse.corpus.read import read_pairs
from compact_labse.corpus.streams import compressing, opened
from compact_labse.corpus.tfexample import example, frame
from compact_labse.errors import UserError, require
from compact_labse.progress import track
from compact_labse.tokens import Tokens, clean_text
from compact_labse.training.mlm_examples import Document, Example
from compact_labse.writing import writing_file

DOCUMENTS_AT_ONCE = 1024
EXAMPLES_AT_ONCE = 4096


def read_documents(paths: Sequence[str], tokenizer: Tokenizer) -> list[Document]:
    """The documents of some files, as token ids.

    Text files hold a sentence per line and an empty line between documents; files of pairs (TSV, JSONL, Parquet,
    TFRecord) hold a pair per record. UserError if there is nothing.
    """
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    tokens = Tokens(copy, special=False)
    found: list[Document] = []
    for source in track(find_sources(list(paths), None, TEXT_KINDS), "reading"):
        texts = _of_text(source) if source.kind == "text" else _of_pairs(source)
        found.extend(_tokenized(texts, tokens, pair=source.kind != "text"))
    if not found:
        raise UserError("the files hold no text to make examples of")
    return found


def write_examples(found: Iterable[Example], out: Path) -> int:
    """Write examples to a `.tfrecord` (also compressed) or `.parquet` file that appears whole; gives their number."""
    with writing_file(out) as temporary:
        return _writer(out)(iter(found), temporary)


def check_name(out: Path) -> None:
    """UserError unless the name of the file tells a format that can be written."""
    _writer(out)


def _writer(out: Path) -> Callable[[Iterator[Example], Path], int]:
    writers = {"tfrecord": _write_tfrecord, "parquet": _write_parquet}
    kind = format_of(str(out))
    if kind not in writers or (kind == "parquet" and out.suffix != ".parquet"):
        raise UserError(f"--out {out}: write .tfrecord (also .gz, .zst, .xz, .bz2) or .parquet")
    return writers[kind]


def _tokenized(groups: Iterator[list[str]], tokens: Tokens, *, pair: bool) -> Iterator[Document]:
    while chunk := list(islice(groups, DOCUMENTS_AT_ONCE)):
        ids = iter(tokens.ids([text for group in chunk for text in group]))
        for group in chunk:
            sentences = [np.array(row, np.int32) for row in islice(ids, len(group))]
            whole = [row for row in sentences if len(row)]
            if whole and (not pair or len(whole) == 2):
                yield Document(whole, pair)


def _of_pairs(source: Source) -> Iterator[list[str]]:
    for pair in read_pairs(source.name, kind=None if source.kind == "hub" else source.kind):
        yield [pair.source, pair.target]


def _of_text(source: Source) -> Iterator[list[str]]:
    group: list[str] = []
    with opened(source.name) as stream:
        for line in stream:
            text = clean_text(line.decode("utf-8", "replace")).strip()
            if text:
                group.append(text)
            elif group:
                yield group
                group = []
    if group:
        yield group


def _write_tfrecord(found: Iterator[Example], path: Path) -> int:
    count = 0
    with open(path, "wb") as raw, compressing(str(path), raw) as file:
        for features in found:
            file.write(frame(example(features)))
            count += 1
    return count


def _write_parquet(found: Iterator[Example], path: Path) -> int:
    pyarrow, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    count, writer = 0, None
    try:
        while chunk := list(islice(found, EXAMPLES_AT_ONCE)):
            table = pyarrow.table({name: pyarrow.array([row[name] for row in chunk]) for name in chunk[0]})
            writer = writer or parquet.ParquetWriter(str(path), table.schema)
            writer.write_table(table)
            count += len(chunk)
    finally:
        if writer is not None:
            writer.close()
    return count
