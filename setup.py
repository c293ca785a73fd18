"""What pyproject.toml cannot say: the pipelines beside the library travel in the wheel as compact_labse.recipes.*"""

from pathlib import Path

from setuptools import find_packages, setup

# By existing folder, so that an environment can be made while a pipeline is still being written.
KINDS = [kind for kind in ("distill", "export", "bench") if Path(__file__).with_name(kind).is_dir()]

HERE = Path(__file__).parent
# A kind's folders that hold pipelines of their own, such as distill/teacher.
INNER = sorted({path.parent.relative_to(HERE).as_posix() for kind in KINDS for path in HERE.glob(f"{kind}/*/*.py")})
RECIPES = {f"compact_labse.recipes.{place.replace('/', '.')}": place for place in (*KINDS, *INNER)}

setup(packages=[*find_packages(include=["compact_labse", "compact_labse.*"]), *RECIPES], package_dir=RECIPES)
