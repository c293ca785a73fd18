"""Pairs and texts from files of every format; what malformed lines, wrong columns and empty corpora say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_labse.corpus.read import Pair, read_cells, read_pairs, read_texts
from compact_labse.corpus.streams import compressing
from compact_labse.errors import UserError

Write = Callable[..., Path]
ROWS = [("Good morning.", "Guten Morgen."), ("Thanks", "Danke\u2028schön")]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("a.tsv.gz", "text")`: a file with that text, compressed as its name says."""

    def make(name: str, text: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as raw, compressing(name, raw) as packed:
            packed.write(text if isinstance(text, bytes) else text.encode())
        return path

    return make


@pytest.fixture
def reports() -> list[str]:
    return []


def tsv(rows: list[tuple[str, str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def jsonl(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parquet(path: Path, **columns: list[Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'train'")
    table = pyarrow.table(columns)
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=2)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz", ".bz2"])
def test_tsv_in_every_compression(write: Write, suffix: str) -> None:
    path = write(f"en-de.tsv{suffix}", tsv(ROWS))
    assert list(read_pairs(path)) == [Pair(source, target, "de") for source, target in ROWS]


def test_windows_line_ends_a_byte_order_mark_and_empty_lines(write: Write) -> None:
    path = write("a.tsv", "\ufeffone\teins\r\n\r\ntwo\tzwei\r\n\n")
    assert list(read_pairs(path)) == [("one", "eins", "und"), ("two", "zwei", "und")]


def test_columns_by_position_say_which_language_the_target_is(write: Write) -> None:
    path = write("en-de.tsv", tsv(ROWS[:1]))
    assert list(read_pairs(path, columns=(1, 0))) == [("Guten Morgen.", "Good morning.", "en")]
    assert list(read_pairs(path, language="xx")) == [("Good morning.", "Guten Morgen.", "xx")]


def test_columns_by_name_need_a_header(write: Write) -> None:
    path = write("a.tsv", "id\tde\ten\n7\teins\tone\n")
    assert list(read_pairs(path, columns=("en", "de"))) == [("one", "eins", "de")]
    assert list(read_pairs(path, columns=("en", "de"), language_column="id")) == [("one", "eins", "7")]
    with pytest.raises(UserError, match=r"a\.tsv has no column 'ed'; its columns are: id, de, en"):
        list(read_pairs(path, columns=("en", "ed")))


def test_a_header_with_well_known_names_is_recognised(write: Write) -> None:
    path = write("a.tsv", "Language\tTarget\tSource\nde\teins\tone\n\tzwei\ttwo\n")
    assert list(read_pairs(path)) == [("one", "eins", "de"), ("two", "zwei", "und")]
    assert list(read_pairs(path, columns=(2, 1))) == [("one", "eins", "de"), ("two", "zwei", "und")]
    assert list(read_texts(path, columns=("Target", "Source"))) == ["eins", "one", "zwei", "two"]
    assert list(read_texts(path)) == ["one", "two"]


def test_a_language_column_by_position(write: Write) -> None:
    path = write("a.tsv", "one\teins\tde\ntwo\tdeux\tfr\n")
    assert [pair.language for pair in read_pairs(path, language_column=2)] == ["de", "fr"]


def test_json_lines_of_every_shape(write: Write) -> None:
    lines = [
        {"src_raw": "1", "tgt_raw": "eins"},
        {"source": "2", "target": "deux", "lang": "fr"},
        {"id": 3, "translation": {"de": "drei", "en": "3"}},
        {"en": "4", "fi": "neljä"},
        ["5", "fünf"],
    ]
    path = write("en-de.jsonl.gz", jsonl(*lines))
    assert list(read_pairs(path)) == [
        ("1", "eins", "de"),
        ("2", "deux", "fr"),
        ("3", "drei", "de"),
        ("4", "neljä", "fi"),
        ("5", "fünf", "de"),
    ]


def test_named_translations(write: Write) -> None:
    path = write("a.jsonl", jsonl({"translation": {"de": "drei", "en": "three", "fr": "trois"}}))
    assert list(read_pairs(path, columns=("en", "fr"))) == [("three", "trois", "fr")]


def test_parquet_rows_are_numbered_over_batches(tmp_path: Path, reports: list[str]) -> None:
    source = [str(number) for number in range(5000)]
    target: list[Any] = [f"z{number}" for number in range(5000)]
    target[4500] = None
    path = parquet(tmp_path / "en-de.parquet", extra=list(range(5000)), source=source, target=target)
    pairs = list(read_pairs(path, report=reports.append))
    assert len(pairs) == 4999
    assert pairs[4500] == ("4501", "z4501", "de")
    assert reports == [f"skipped {path}, row 4501: an empty side"]


def test_parquet_columns(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'train'")
    path = parquet(
        tmp_path / "a.parquet",
        en=pyarrow.array([b"one", b"t\xffo", b"three"]),
        de=pyarrow.array(["eins", "zwei", "drei"], pyarrow.large_string()),
        lang=pyarrow.array(["de", "de", "at"]).dictionary_encode(),
        number=[1, 2, 3],
    )
    assert list(read_pairs(path, columns=("en", "de"), report=str)) == [("one", "eins", "de"), ("three", "drei", "at")]
    assert list(read_pairs(path, columns=(1, 0), language="x", report=str))[1] == ("drei", "three", "x")
    with pytest.raises(UserError, match=r"a\.parquet has no column 'ed'; its columns are: en, de, lang, number"):
        list(read_pairs(path, columns=("en", "ed")))
    with pytest.raises(UserError, match=r"a\.parquet has no column number 4, counted from 0; its columns are: en, de"):
        list(read_pairs(path, columns=(0, 4)))
    with pytest.raises(UserError, match=r"row 3: not text \(a value of type int\)"):
        list(read_pairs(path, columns=("en", "number"), report=str))


def test_parquet_of_translations_and_of_texts(tmp_path: Path) -> None:
    nested = parquet(tmp_path / "a.parquet", translation=[{"en": "one", "de": "eins"}])
    assert list(read_pairs(nested)) == [("one", "eins", "de")]
    assert list(read_pairs(nested, columns=("de", "en"))) == [("eins", "one", "en")]
    assert list(read_texts(parquet(tmp_path / "b.parquet", text=["one", "two", "three"]))) == ["one", "two", "three"]


def test_what_is_no_parquet_file(write: Write) -> None:
    with pytest.raises(UserError, match=r"cannot read .*a\.parquet as Parquet"):
        list(read_pairs(write("a.parquet", "PAR1 is not enough")))
    with pytest.raises(UserError, match=r"a\.parquet\.gz: Parquet compresses by itself .*; unpack it"):
        list(read_pairs(write("a.parquet.gz", "x")))


def test_a_local_dataset_of_the_hub_library(write: Write, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'train'")
    write("set/train.jsonl", jsonl({"source": "one", "target": "eins", "language": "de"}))
    write("set/test.jsonl", jsonl({"source": "two", "target": "zwei", "language": "de"}))
    name = f"hf:{tmp_path}/set"
    assert list(read_pairs(name)) == list(read_pairs(f"{name}:default:train")) == [("one", "eins", "de")]
    assert list(read_pairs([name, f"{name}:test"])) == [("one", "eins", "de"), ("two", "zwei", "de")]
    assert list(read_texts(f"{name}::test", columns=["target"])) == ["zwei"]
    for wrong, message in {
        f"{name}::dev": r"cannot load the Hugging Face dataset .*, split 'dev': .*train",
        f"{name}:en": r"cannot load the Hugging Face dataset .*configuration 'en'",
        "hf:nobody/has-this": r"cannot load the Hugging Face dataset 'nobody/has-this'",
        "hf:": r"'hf:' is not of the form hf:name\[:config\]\[:split\]",
        "hf:a:b:c:d": "is not of the form",
    }.items():
        with pytest.raises(UserError, match=message):
            list(read_pairs(wrong))


def test_texts_of_every_format(write: Write) -> None:
    write("a/1.txt.xz", " one \n\n \ntwo\n")
    write("a/2.tsv", "three\tdrei\n")
    write("a/3.jsonl", jsonl({"text": "four"}, "five", ["six"]))
    assert list(read_texts(write("a/4.txt", "seven").parent)) == [
        " one ",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
    ]
    assert list(read_texts(write("b.tsv", tsv(ROWS)), columns=(1, 0))) == [*ROWS[0][::-1], *ROWS[1][::-1]]


def test_every_cell_of_everything(write: Write, tmp_path: Path) -> None:
    write("a/1.txt", "one\n")
    write("a/2.tsv", "7\ttwo\tzwei\n")
    write("a/3.jsonl", jsonl({"id": 3, "t": {"en": "three"}, "more": ["four"]}))
    parquet(tmp_path / "a/4.parquet", a=["five"], b=[5])
    assert list(read_cells(tmp_path / "a")) == ["one", "7", "two", "zwei", "three", "four", "five"]


@pytest.mark.parametrize(
    ("name", "bad", "report"),
    [
        ("a.tsv", "only one", "line 2: too few columns (there are 1)"),
        ("a.tsv", "one\t ", "line 2: an empty side"),
        ("a.tsv", b"a\tb\xff", "line 2: invalid UTF-8 (byte 4 of the line)"),
        ("a.jsonl.xz", '{"source": "a", ', "line 2: invalid JSON (Expecting property name"),
        ("a.jsonl", "[" * 100_000, "line 2: invalid JSON ("),
        ("a.jsonl", "7", "line 2: not a JSON object or array"),
        ("a.jsonl", '"text"', "line 2: not a JSON object or array"),
        ("a.jsonl", "[]", "line 2: too few columns (there are 0)"),
        ("a.jsonl", '{"source": "a", "x": "b"}', "line 2: missing column (no two columns have well-known names; its"),
        ("a.jsonl", '{"source": "a", "target": ["b"]}', "line 2: not text (a value of type list)"),
        ("a.jsonl", '{"source": "a", "target": null}', "line 2: an empty side"),
    ],
)
def test_a_malformed_line_is_reported_and_skipped(
    write: Write, reports: list[str], name: str, bad: str | bytes, report: str
) -> None:
    good = b"a\tb\n" if "tsv" in name else b'{"source": "a", "target": "b"}\n'
    path = write(name, good + (bad if isinstance(bad, bytes) else bad.encode()) + b"\n" + good)
    assert list(read_pairs(path, report=reports.append)) == [("a", "b", "und")] * 2
    assert len(reports) == 1
    assert reports[0].startswith(f"skipped {path}, {report}")


def test_a_few_are_shown_and_all_are_counted(write: Write, reports: list[str]) -> None:
    first, second = write("1.tsv", "x\n" * 4 + "a\tb\n"), write("2.tsv", "a\t\n" * 5 + "a\tb\n")
    assert len(list(read_pairs([first, second], report=reports.append, max_bad=9))) == 2
    assert [report.split(", ")[-1].split(":")[0] for report in reports[:5]] == [f"line {n}" for n in (1, 2, 3, 4, 1)]
    assert reports[5:] == ["9 malformed lines skipped (an empty side: 5, too few columns: 4)"]


def test_more_malformed_lines_than_allowed_end_the_reading(write: Write) -> None:
    path = write("a.tsv", "a\tb\n" + "x\n" * 3)
    with pytest.raises(
        UserError,
        match=r"a\.tsv, line 4: too few columns \(there are 1\); with it 3 malformed lines .* max_bad allows 2",
    ):
        list(read_pairs(path, max_bad=2, report=str))
    assert len(list(read_pairs(path, max_bad=3, report=str))) == 1
    with pytest.raises(UserError, match="max_bad .* cannot be negative, got -1"):
        read_pairs(path, max_bad=-1)


def test_a_named_file_without_a_usable_line_is_an_error(write: Write) -> None:
    good = write("good.tsv", "a\tb\n")
    for path in (write("a.tsv.gz", ""), write("b.tsv", "\n\r\n")):
        with pytest.raises(UserError, match=rf"{path.name} has no usable line$"):
            list(read_pairs([good, path]))
    with pytest.raises(
        UserError, match=r"c\.jsonl has no usable line; the last malformed one: .*line 1: missing column"
    ):
        list(read_pairs(write("c.jsonl", '{"sorce": "a", "target": "b"}\n'), report=str))


def test_a_folder_may_have_empty_files_but_not_only_those(write: Write, reports: list[str]) -> None:
    empty = write("a/1.tsv", "")
    with pytest.raises(UserError, match=r"no usable line in any file, from .*1\.tsv to .*1\.tsv"):
        list(read_pairs(empty.parent, report=str))
    write("a/2.tsv", "a\tb\n")
    assert list(read_pairs(empty.parent, report=reports.append)) == [("a", "b", "und")]
    assert reports == [f"{empty} has no usable line: passed over"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": (0, 0)}, "a pair needs two different columns"),
        ({"columns": (0,)}, "a pair needs two different columns"),
        ({"columns": (0, -1)}, "column positions count from 0, got -1"),
        ({"columns": (0, True)}, "a column is a name or a position from 0, got True"),
        ({"kind": "csv"}, "unknown kind of corpus file 'csv'"),
    ],
)
def test_wrong_options_are_refused_before_reading(write: Write, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_pairs(write("a.tsv", "a\tb\n"), **options)
    with pytest.raises(UserError, match="no such file or folder: missing"):
        read_pairs("missing.tsv")
    with pytest.raises(UserError, match="no column was named"):
        read_texts("missing.tsv", columns=())


def test_names_of_columns_do_not_fit_arrays(write: Write) -> None:
    with pytest.raises(
        UserError, match="line 1: missing column .no names, as it is an array; columns are chosen by pos"
    ):
        list(read_pairs(write("a.jsonl", '["a", "b"]\n'), columns=("source", "target"), report=str))


def test_a_file_of_any_name_is_read_as_the_kind_says(write: Write) -> None:
    assert list(read_pairs(write("pairs", "a\tb\n"), kind="tsv")) == [("a", "b", "und")]


def test_reading_is_lazy(write: Write) -> None:
    """A corpus larger than memory works because no line is read before it is asked for."""
    pairs = read_pairs([write("1.tsv", "a\tb\n" * 100), write("2.tsv.gz", b"x")], report=str)
    assert next(pairs) == ("a", "b", "und")


@given(rows=st.lists(st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]), min_size=1)] * 2), min_size=1))
def test_any_text_survives_json_lines(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    path.write_text(jsonl(*rows, ["end", "end"]), encoding="utf-8")
    kept = [(*row, "und") for row in rows if not row[0].isspace() and not row[1].isspace()]
    assert list(read_pairs(path, report=str, max_bad=10_000)) == [*kept, ("end", "end", "und")]


def test_the_training_data(shared_data: Path) -> None:
    pairs = list(read_pairs(shared_data / "train/tldr"))
    assert len(pairs) > 10_000
    assert {"de", "zh", "zh-Hant"} <= {pair.language for pair in pairs}
