"""`compact-labse verify`: are the artifacts of a folder what was exported, and do they give its vectors here?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from compact_labse.errors import GateError, UserError

EXAMPLE = """\
example:
  compact-labse verify exported
  compact-labse verify default --json      # the student that ships with this package

Every file listed in a parity.json is hashed, opened and run on the texts of expected.json beside it: token ids must be
equal, vectors within the tolerance of the format. An artifact whose runtime is not installed is hashed only. Beside
them, expected.json itself, tokenizers and settings are hashed. The exit code is 3 if anything differs, 2 if nothing
could be run.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; see the epilog for an example."""
    parser.epilog = EXAMPLE
    parser.add_argument("folder", metavar="FOLDER", help='an exported folder, or "default", the shipped student')
    parser.add_argument("--json", action="store_true", help="one JSON object per artifact on stdout")


def run(args: argparse.Namespace) -> int:
    """Check, print a line per artifact, and fail if anything differs."""
    import json

    from compact_labse.formats.gates.verify import MISMATCH, OK, Check, verify
    from compact_labse.locate import EMBEDDED

    folder = EMBEDDED[args.folder]() if args.folder in EMBEDDED else Path(args.folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that `compact-labse export` wrote")
    checks = verify(folder)

    def line(check: Check) -> str:
        figures = "" if check.worst_cosine is None else f"worst cosine {check.worst_cosine:.6f}"
        return f"{check.status:<12}{check.artifact}  {check.detail or figures}".rstrip()

    for check in checks:
        print(json.dumps(asdict(check), ensure_ascii=False) if args.json else line(check))
    wrong = [check for check in checks if check.status == MISMATCH]
    if wrong:
        raise GateError(f"{len(wrong)} of {len(checks)} files checked in {folder} differ, {wrong[0].artifact} first")
    if not any(check.status == OK for check in checks):
        raise UserError(f"nothing in {folder} could be run: {checks[0].artifact}: {checks[0].detail}")
    return 0
