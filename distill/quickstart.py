"""The main job on the text that comes with the package: distil a student, export it through the gates, compare, search.

    python distill/quickstart.py [folder]

The teacher is the shipped student, itself distilled and 16 MB; the new student is several times smaller again. A second
run reuses what is there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from compact_labse import cli, sample
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

QUESTIONS = ("Hilft Vitamin D dem Körper?", "¿Quién ganó el partido de ayer?", "コーヒーに砂糖を入れますか？")


def main(folder: Path) -> int:
    """Run every stage in `folder`; gives the exit code of the first that fails, or 0."""
    student = folder / "student"
    say("1/4 text: 160 sentences in 19 languages, written for this project")
    if not (folder / "text").is_dir():  # new files, even with the same text, would make every later stage anew
        sample.write_tsv(folder / "text", split="train")
    say("2/4 distil: the shipped student teaches a smaller one")
    distil = load_pipeline("distill", "student").__file__
    config = Path(str(distil)).with_name("quickstart.yaml")
    steps = (
        ["distill", "--config", str(config), "--data", str(folder / "text"), "--out", str(student), "--overwrite=true"],
        ["export", str(student), "--onnx", "--int8", "--overwrite"],
        [
            "bench",
            "default",
            str(student),
            str(student / "onnx/model_int8.onnx"),
            "--quick",
            "--out",
            str(folder / "report"),
        ],
    )
    titles = ("", "3/4 export: int8 ONNX, checked against the student before it gets its name", "4/4 compare")
    for title, words in zip(titles, steps, strict=True):
        if title:
            say(title)
        say("compact-labse " + " ".join(words))
        if code := cli.main(words):
            return code
    return ask(student / "onnx/model_int8.onnx", folder)


def ask(model: Path, folder: Path) -> int:
    """Search English sentences that no stage has trained on with questions in other languages."""
    text = folder / "english.txt"
    text.write_text("\n".join(sample.sentences("en", "test")) + "\n", encoding="utf-8")
    for question in QUESTIONS:
        say(f'compact-labse search --query "{question}" --text {text} --model {model}')
        if code := cli.main(
            ["search", "--query", question, "--text", str(text), "--model", str(model), "--top-k", "2"]
        ):
            return code
    say(f"report: {folder / 'report/report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart")))
