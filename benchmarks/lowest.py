"""Print the lowest versions that pyproject.toml allows, as constraints for pip, which has no resolver for them.

python benchmarks/lowest.py > lowest.txt; pip install -c lowest.txt -e .      (make lowest does both, and a smoke test)

torch and torchvision stay at the versions of constraints.txt: old wheels of torch have no build without CUDA on PyPI.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = ("torch", "torchvision")


def floors(requirements: list[str]) -> dict[str, str]:
    """Return the lowest version of each requirement such as `hydra-core>=1.3.8,<1.4`."""
    found = [re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", requirement) for requirement in requirements]
    return {match[1]: match[2] for match in found if match}


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = floors([*project["dependencies"], *project["optional-dependencies"]["slurm"]])
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    for name, version in lowest.items():
        print(f"{name}=={pinned[name] if name in PINNED else version}")


if __name__ == "__main__":
    main()
