"""Trim a model of LaBSE's shape and say what it took: 501,153 pieces to 173,347, 471 M random parameters.

    python bench/large_trim.py --work DIR [--max-tokens 173347] [--out results.jsonl]

The vocabulary is made of characters and words of the embedded sample, and of words made up from each language's
letters; the text to serve is made up too, so that more pieces are used than there is room for. The trimming runs in a
process of its own; its peak memory is what the kernel counted, and is compared with the limit that we set ourselves:
1.2 times the kept part of the table plus the rest of the weights.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from compact_labse.pipelines import load_pipeline

LANGUAGES = ("ar", "bn", "de", "el", "en", "es", "fr", "hi", "id", "ja", "ko", "pl", "ru", "th", "zh")
WORDS_IN_TEXT, LINES = 14, 40_000
TRIM = """
import sys
from compact_labse.cli import main
sys.exit(main(["trim", sys.argv[1], "--corpus", sys.argv[2], "--max-tokens", sys.argv[3], "--out", sys.argv[4],
               "--overwrite", "--json"]))
"""


def made_up_words(count: int, seed: int = 0) -> list[str]:
    """Distinct words of three to nine letters, from each language's letters in turn."""
    from compact_labse import sample

    rng = random.Random(seed)
    letters = {code: sorted({c for text in sample.sentences(code) for c in text if c.isalpha()}) for code in LANGUAGES}
    found: dict[str, None] = {}
    while len(found) < count:
        code = LANGUAGES[len(found) % len(LANGUAGES)]
        found["".join(rng.choices(letters[code], k=rng.randint(3, 9)))] = None
    return list(found)


def write_text(path: Path, words: list[str], seed: int = 1) -> None:
    """A text a line; the earlier a word stands in the list, the more often it occurs."""
    rng, last = random.Random(seed), len(words) - 1
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(LINES):
            chosen = (words[int(last * rng.random() ** 2)] for _ in range(WORDS_IN_TEXT))
            file.write(" ".join(chosen) + "\n")


def write_model(folder: Path, words: list[str]) -> None:
    """The model of bench/large_export.py with these words in place of names that no text has."""
    load_pipeline("bench", "large_export").write_model(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    taken, spare = set(content["model"]["vocab"]), iter(words)
    unused = [piece for piece in content["model"]["vocab"] if piece.startswith("[unused")]
    names = dict(zip(unused, (w for w in spare if w not in taken), strict=False))
    content["model"]["vocab"] = {names.get(piece, piece): place for piece, place in content["model"]["vocab"].items()}
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def measure(model: Path, text: Path, max_tokens: int, out: Path) -> dict[str, Any]:
    """Trim in a process of its own: peak memory, time, pieces, sizes."""
    started = time.monotonic()
    command = [sys.executable, "-c", TRIM, str(model), str(text), str(max_tokens), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall_s = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout)
    row_bytes = (result["bytes_before"] - result["bytes_after"]) / (result["pieces_before"] - result["pieces_after"])
    kept = row_bytes * result["pieces_after"]
    peak = used.ru_maxrss * 1024
    limit = 1.2 * kept + (result["bytes_after"] - kept)
    return {
        "what": "trimming a model of LaBSE's shape",
        "pieces": [result["pieces_before"], result["pieces_after"]],
        "weights_mb": [round(result["bytes_before"] / 1e6, 1), round(result["bytes_after"] / 1e6, 1)],
        "changed_tokens": {code: round(cut["changed"], 4) for code, cut in result["languages"].items()},
        "peak_rss_mb": round(peak / 1e6),
        "peak_limit_mb": round(limit / 1e6),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "wall_s": round(wall_s, 1),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Make the model unless it is there, trim it, print and append the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and its copy: 3 GB")
    parser.add_argument("--max-tokens", type=int, default=173_347)
    parser.add_argument("--out", type=Path, help="append the figures to this file")
    args = parser.parse_args()
    words = made_up_words(460_000)
    if not (args.work / "model").is_dir():
        write_model(args.work / "model", words)
        write_text(args.work / "text.txt", words)
    figures = measure(args.work / "model", args.work / "text.txt", args.max_tokens, args.work / "trimmed")
    line = json.dumps(figures)
    print(line)
    if args.out is not None:
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    if figures["peak_rss_mb"] > figures["peak_limit_mb"]:
        raise SystemExit("the peak is above the limit")


if __name__ == "__main__":
    main()
