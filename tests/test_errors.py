"""`require` names the extra that helps, and tells a missing library from a broken one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from compact_labse.errors import EXTRA_OF, GateError, UserError, missing, require
from compact_labse.pipelines import KINDS, load_pipeline, pipeline_folder, pipeline_names

ROOT = Path(__file__).resolve().parents[1]


def test_require_returns_the_module():
    assert require("json", "train") is sys.modules["json"]


def test_require_names_the_extra():
    with pytest.raises(UserError, match=re.escape("'no_such_library'")) as caught:
        require("no_such_library.part", "onnx")
    assert "pip install 'compact-labse[onnx]'" in str(caught.value)


def test_require_reports_what_an_installed_library_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "half_installed.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="'half_installed' is installed but needs 'no_such_dependency'"):
        require("half_installed", "train")


def test_require_reports_a_broken_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_library.py").write_text("raise ImportError('libfoo.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be imported \(libfoo.so.1"):
        require("broken_library", "train")


def test_missing_knows_which_extra_brings_a_library():
    assert "compact-labse[train]" in str(missing("torch.nn"))
    assert "install the package that provides 'unheard_of'" in str(missing("unheard_of"))


def test_every_extra_that_errors_name_exists():
    text = (ROOT / "pyproject.toml").read_text()
    listed = text.split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    extras = set(re.findall(r"^([\w-]+) = \[", listed, re.M))
    assert set(EXTRA_OF.values()) <= extras


def test_every_require_names_the_extra_that_brings_the_library():
    calls = [
        (path.name, *call)
        for path in (ROOT / "compact_labse").rglob("*.py")
        for call in re.findall(r'require\("(\w+)[\w.]*", "(\w+)"\)', path.read_text())
    ]
    wrong = [call for call in calls if EXTRA_OF.get(call[1], call[2]) != call[2]]
    assert len(calls) > 5
    assert not wrong


def test_exit_codes():
    assert (UserError.exit_code, GateError.exit_code) == (2, 3)
    assert issubclass(GateError, UserError)


def test_an_unknown_pipeline_lists_the_known_ones():
    with pytest.raises(UserError, match="unknown kind of pipeline 'distil'; known: distill, export, bench"):
        pipeline_folder("distil")
    with pytest.raises(UserError, match="no pipeline 'studnet'.*known: .*student"):
        load_pipeline("distill", "studnet")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pretended checkout with one pipeline of its own and one in the wheel's place."""
    for folder in (tmp_path / "distill", tmp_path / "compact_labse/recipes/distill"):
        folder.mkdir(parents=True)
        source = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        source += (
            f"PLACE = {str(folder)!r}\n@dataclass(frozen=True, kw_only=True)\nclass Config:\n    layers: int = 1\n"
        )
        (folder / "tiny.py").write_text(source)
    monkeypatch.setattr("compact_labse.pipelines._PACKAGE", tmp_path / "compact_labse")
    monkeypatch.delitem(sys.modules, "_compact_labse_distill_tiny", raising=False)
    return tmp_path


def test_a_checkouts_own_pipeline_wins(checkout: Path):
    (checkout / "pyproject.toml").touch()
    module = load_pipeline("distill", "tiny")
    assert checkout / "distill" == Path(module.PLACE)
    assert module.Config(layers=2).layers == 2
    assert load_pipeline("distill", "tiny") is module


def test_an_installed_wheel_uses_its_recipes_and_not_a_strangers_folder(checkout: Path):
    assert Path(load_pipeline("distill", "tiny").PLACE) == checkout / "compact_labse/recipes/distill"


def test_a_pipeline_that_fails_to_load_is_not_kept(checkout: Path):
    path = checkout / "compact_labse/recipes/distill/tiny.py"
    path.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        load_pipeline("distill", "tiny")
    path.write_text("WHOLE = True")
    assert load_pipeline("distill", "tiny").WHOLE


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_pipelines_that_load(kind: str):
    assert pipeline_names(kind)
    for name in pipeline_names(kind):
        assert load_pipeline(kind, name).__doc__, f"{kind}/{name}.py says what it does"
