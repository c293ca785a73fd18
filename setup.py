"""What pyproject.toml cannot say: the pipelines beside the library travel in the wheel as compact_labse.recipes.*"""

from pathlib import Path

from setuptools import find_packages, setup

# By existing folder, so that an environment can be made while a pipeline is still being written.
KINDS = [kind for kind in ("distill", "export", "bench") if Path(__file__).with_name(kind).is_dir()]

setup(
    packages=[
        *find_packages(include=["compact_labse", "compact_labse.*"]),
        *(f"compact_labse.recipes.{kind}" for kind in KINDS),
    ],
    package_dir={f"compact_labse.recipes.{kind}": kind for kind in KINDS},
)
