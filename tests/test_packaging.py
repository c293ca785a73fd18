"""What a user gets: one name in site-packages, all data files, the pipelines as recipes, make targets that set up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import compact_labse

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("distill", "export", "bench")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> set[str]:
    """What the wheel must hold: everything under compact_labse/, and the pipelines under their name there."""
    names = {path.relative_to(ROOT).as_posix() for path in (ROOT / "compact_labse").rglob("*") if path.is_file()}
    names = {name for name in names if not re.search(r"(^|/)(\.|__pycache__/)", name)}
    for kind in KINDS:
        recipes = [
            path for suffix in ("*.py", "*.yaml", "*/*.py", "teacher/*.yaml") for path in (ROOT / kind).glob(suffix)
        ]
        names |= {f"compact_labse/recipes/{path.relative_to(ROOT).as_posix()}" for path in recipes}
    return names


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in: setuptools leaves build/ and *.egg-info behind, and old ones leak into new wheels."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "quickstart")
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("packaging") / "checkout", ignore=ignored))


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, checkout)
    return next(folder.glob("*.whl"))


def environment(folder: Path) -> Path:
    """The python of a new environment that sees the libraries of this one, but is its own place to install to."""
    venv.create(folder, with_pip=True)
    site = next(folder.glob("lib/python*/site-packages"))
    theirs = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(theirs))
    return folder / "bin/python"


def new_names(python: Path, before: set[str]) -> set[str]:
    names = {path.name for path in next(python.parents[1].glob("lib/python*/site-packages")).iterdir()}
    return {name for name in names - before if not re.search(r"\.dist-info$|^__editable__|^__pycache__$", name)}


ASK = """
import importlib.util, sys
from pathlib import Path
import compact_labse
from compact_labse.pipelines import KINDS, load_pipeline, pipeline_folder, pipeline_names
for kind in KINDS:
    spec = importlib.util.find_spec(kind)
    assert spec is None, f"{kind} leaked: {spec}"
    for name in pipeline_names(kind):
        load_pipeline(kind, name)
    print(Path(compact_labse.__file__).parent, pipeline_folder(kind), *pipeline_names(kind))
"""


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_one_name(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == source_files()
    assert {name.partition("/")[0] for name in names} == {"compact_labse"}


@pytest.mark.slow
def test_the_wheel_from_the_sdist_is_the_same(checkout: Path, wheel: Path, tmp_path: Path):
    pytest.importorskip("build", reason="needs the extra 'dev'")
    run(sys.executable, "-m", "build", "--outdir", tmp_path, checkout)
    second = next(tmp_path.glob("*.whl"))
    assert set(zipfile.ZipFile(second).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_an_installed_wheel_leaks_no_names_and_finds_its_recipes(wheel: Path, tmp_path: Path):
    python = environment(tmp_path / "venv")
    before = {path.name for path in next((tmp_path / "venv").glob("lib/python*/site-packages")).iterdir()}
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert new_names(python, before) == {"compact_labse"}
    lines = run(python, "-c", ASK, cwd=tmp_path).splitlines()
    for kind, line in zip(KINDS, lines, strict=True):
        package, folder, *pipelines = line.split()
        assert package.startswith(str(tmp_path))
        assert folder == f"{package}/recipes/{kind}"
        own = [path for pattern in ("*.py", "*/*.py") for path in (ROOT / kind).glob(pattern)]
        assert pipelines == sorted(path.relative_to(ROOT / kind).with_suffix("").as_posix() for path in own)
    assert run(python.with_name("compact-labse"), "--version").strip() == f"compact-labse {compact_labse.__version__}"


@pytest.mark.slow
def test_an_editable_install_leaks_no_names_and_uses_the_checkout(checkout: Path, tmp_path: Path):
    python = environment(tmp_path / "venv")
    before = {path.name for path in next((tmp_path / "venv").glob("lib/python*/site-packages")).iterdir()}
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", checkout)
    assert new_names(python, before) == set()
    lines = run(python, "-c", ASK, cwd=tmp_path).splitlines()
    for kind, line in zip(KINDS, lines, strict=True):
        assert line.split()[:2] == [str(checkout / "compact_labse"), str(checkout / kind)]


def test_extras_and_constraints_agree():
    """Every direct dependency has a tried pin, and every pin lies within what its extra allows."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {
        canonicalize_name(pin.name): pin
        for pin in map(Requirement, filter(lambda line: line[:1] not in ("", "#"), lines))
    }
    wanted = [
        *PROJECT["dependencies"],
        *(line for extra in PROJECT["optional-dependencies"].values() for line in extra),
    ]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name == "compact-labse":
            continue
        assert name in pins, f"{name} has no pin in constraints.txt"
        for specifier in pins[name].specifier:
            if specifier.operator == "==":
                assert requirement.specifier.contains(specifier.version), (
                    f"{requirement} excludes the tried {specifier}"
                )


def test_the_extras_that_documents_name_exist():
    extras = set(PROJECT["optional-dependencies"])
    assert {"train", "minilm", "onnx", "tflite", "tensorflow", "bench", "serve", "dev", "all"} <= extras
    for document in ["README.md", "CONTRIBUTING.md", "Makefile"]:
        for listed in re.findall(r"(?:compact-labse|\.)\[([\w,]+)\]", (ROOT / document).read_text()):
            assert set(listed.split(",")) <= extras, f"{document} names [{listed}]"
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, flags=re.M)) == extras
    [whole] = [row for row in table.split("\n") if row.startswith("| `all` |")]
    missing = set(re.findall(r"`([\w-]+)`", whole)) - {"all"}
    named = set(re.findall(r"\[([\w,-]+)\]", PROJECT["optional-dependencies"]["all"][0])[0].split(","))
    assert missing == extras - named - {"all"}


def test_continuous_integration_runs_the_readmes_test_command():
    assert "make test\n" in (ROOT / "README.md").read_text()
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text()
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("target", ["quickstart", "test", "test-slow", "lint"])
def test_every_target_starts_with_the_environment(target: str, checkout: Path):
    """`make --dry-run` from a fresh clone shows the installation before the work; needs make, not the network."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    plan = run("make", "--dry-run", target, cwd=checkout)
    assert plan.index("-m venv") < plan.index("torch==2.13.0") < plan.index("--editable")
