"""Find and load the pipelines that live beside the library: `distill/`, `export/`, `bench/`.

A checkout's own files win, so that editing `distill/student.py` takes effect at once; an installed wheel carries the
same files as `compact_labse/recipes/<kind>/`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from compact_labse.errors import UserError

KINDS = ("distill", "export", "bench")

_PACKAGE = Path(__file__).resolve().parent


def pipeline_folder(kind: str) -> Path:
    """The folder that holds the pipelines and YAML variants of one kind. Unknown kinds raise UserError."""
    if kind not in KINDS:
        raise UserError(f"unknown kind of pipeline {kind!r}; known: {', '.join(KINDS)}")
    checkout = _PACKAGE.parent
    # pyproject.toml tells a checkout from site-packages, where a stranger's `bench/` may lie beside us.
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    return _PACKAGE / "recipes" / kind


def pipeline_names(kind: str) -> list[str]:
    """The names that `load_pipeline(kind, name)` accepts, sorted; those of a folder inside are `folder/name`."""
    root = pipeline_folder(kind)
    found = [path.relative_to(root) for pattern in ("*.py", "*/*.py") for path in root.glob(pattern)]
    return sorted(path.with_suffix("").as_posix() for path in found if not path.stem.startswith("_"))


def load_pipeline(kind: str, name: str) -> ModuleType:
    """Load `<kind>/<name>.py` by its path and return the module; the second call returns the same module."""
    known = pipeline_names(kind)
    if name not in known:
        raise UserError(f"no pipeline {name!r} in {pipeline_folder(kind)}; known: {', '.join(known) or 'none'}")
    path = pipeline_folder(kind) / f"{name}.py"
    module_name = f"_compact_labse_{kind}_{name.replace('/', '_')}"
    loaded = sys.modules.get(module_name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while they are being defined.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
