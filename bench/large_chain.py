"""A model of LaBSE's shape to the end: 471 M random parameters, trimmed to 15 languages, 6 layers, int8 ONNX.

    python bench/large_chain.py --work DIR [--out bench/results/compression/large_chain.jsonl]

The three commands run one after the other, each in a process of its own; what counts is the time of all and the largest
peak memory of any. Making the model up is not counted. Random weights have no quality to keep: the export measures its
gates, which takes its time, and none of them is enforced. The folder needs 5 GB, of which each step's input is deleted
when it is no longer needed (`--keep` keeps it).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

PIECES, KEPT_LAYERS, TEXTS = 173_347, 6, 32
SENTENCES = 8  # of each language, for the gates
MINUTES, GIBIBYTES = 10, 6  # what we want
COMMAND = "import sys; from compact_labse.cli import main; sys.exit(main(sys.argv[1:]))"
EXPORT = """
import sys
from pathlib import Path
from compact_labse.formats.gates.parity import LIMITS
from compact_labse.formats.onnx.write import CALIBRATION_TEXTS
from compact_labse.pipelines import load_pipeline

model, out, count, languages = sys.argv[1:]
pipeline = load_pipeline("export", "onnx_export")
whole, kept = pipeline._sample, {"test": int(count), "calibration": CALIBRATION_TEXTS + int(count)}
pipeline._sample = lambda some, part: {code: texts[: kept[part]] for code, texts in whole(some, part).items()}
pipeline.run(pipeline.OnnxExport(model=model, out=Path(out), formats=("int8",), overwrite=True,
                                 languages=tuple(languages.split(",")), reason="random weights",
                                 loosen=dict.fromkeys(LIMITS["int8"].gates(), -1.0)))
"""


def measured(command: Sequence[str]) -> dict[str, Any]:
    """Wall and processor seconds and peak memory of a command; SystemExit if it fails."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(map(str, command[:6]))} ...")
    return {
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_rss_mb": round(used.ru_maxrss * 1024 / 1e6),
    }


def size(folder: Path) -> float:
    """MB of a folder's weights and exports."""
    found = [path for pattern in ("*.safetensors", "*.onnx*") for path in folder.rglob(pattern)]
    return round(sum(path.stat().st_size for path in found) / 1e6, 1)


def chain(work: Path, keep: bool) -> dict[str, Any]:
    """Run the commands; gives each one's figures, their sum and their largest peak."""
    trim = load_pipeline("bench", "large_trim")
    model, trimmed, pruned, exported = (work / name for name in ("model", "trimmed", "pruned", "exported"))
    text = work / "text.txt"
    if not model.is_dir():
        words = trim.made_up_words(460_000)
        trim.write_model(model, words)
        trim.write_text(text, words)
    python = [sys.executable, "-c"]
    data, new = ["--data", str(text), "--texts", str(TEXTS)], ["--overwrite", "--json"]
    commands = {
        "trim": (model, trimmed, [*python, trim.TRIM, str(model), str(text), str(PIECES), str(trimmed)]),
        "prune": (
            trimmed,
            pruned,
            [*python, COMMAND, "prune", str(trimmed), "--layers", str(KEPT_LAYERS), *data, "--out", str(pruned), *new],
        ),
        "export": (
            pruned,
            exported,
            [*python, EXPORT, str(pruned), str(exported), str(SENTENCES), ",".join(trim.LANGUAGES)],
        ),
    }
    steps, sizes = {}, {"model": size(model)}
    for name, (source, out, command) in commands.items():
        say(name)
        steps[name] = measured(command)
        say(f"{name}: {steps[name]}")
        sizes[name] = size(out)
        if not keep:
            shutil.rmtree(source)
    return {
        "what": f"LaBSE's shape: {PIECES:,} pieces, {KEPT_LAYERS} layers, int8 ONNX",
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "steps": steps,
        "mb": sizes,
        "wall_s": round(sum(step["wall_s"] for step in steps.values()), 1),
        "cpu_s": round(sum(step["cpu_s"] for step in steps.values()), 1),
        "peak_rss_mb": max(step["peak_rss_mb"] for step in steps.values()),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Run the chain, print and append the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the models: 5 GB")
    parser.add_argument("--keep", action="store_true", help="keep every model (default: delete what was an input)")
    parser.add_argument("--out", type=Path, help="append the figures to this file")
    args = parser.parse_args()
    line = json.dumps(chain(args.work, args.keep))
    print(line)
    if args.out is not None:
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    figures = json.loads(line)
    if figures["wall_s"] > 60 * MINUTES or figures["peak_rss_mb"] > GIBIBYTES * 2**30 / 1e6:
        raise SystemExit(f"more than {MINUTES} minutes or {GIBIBYTES} GiB")


if __name__ == "__main__":
    main()
