"""Build the sdist and the wheel of HEAD into dist/, and try them: `make release`.

Both are compared with the files that git tracks, and checked by twine. Then the wheel is installed into an empty
environment outside the clone, where README's main job has to print README's table. Uploading is left to a person.

Needs build and twine (.venv-release), a package index, and a tree without changes. Exit status 1 with one line for
whatever fails.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
MAIN = ["transfer", "-m", "model.layers=2,4,8", "wandb=disabled"]
TOLERANCE = 0.02  # as in tests/test_commands.py: processors round a row or two to the other side
# The sdist leaves these out: results that commands have written, and the files of hosting services and of git.
NOT_IN_SDIST = ("docs/results/figures/", ".ci/", ".github/", ".gitignore")
MADE_BY_SETUPTOOLS = re.compile(r"PKG-INFO|setup\.cfg|MANIFEST\.in|cftransfer\.egg-info/.*")
WHEELS_OWN = {
    "METADATA",
    "RECORD",
    "WHEEL",
    "entry_points.txt",
    "top_level.txt",
    "licenses/LICENSE",
    "licenses/cftransfer/data/COMPAS.md",
}


def in_wheel(tracked: list[str]) -> set[str]:
    """Paths within the wheel, without its metadata: both packages whole, and conf/ as cftransfer/conf/."""
    paths = {path for path in tracked if path.startswith(("cftransfer/", "hydra_plugins/"))}
    return paths | {f"cftransfer/{path}" for path in tracked if path.startswith("conf/")}


def in_sdist(tracked: list[str]) -> set[str]:
    """Paths within the sdist: everything that building and testing need, which is all but NOT_IN_SDIST."""
    return {path for path in tracked if not path.startswith(NOT_IN_SDIST)}


def wheel_faults(wheel: Path, tracked: list[str]) -> list[str]:
    """Say in one line each which files of a wheel are missing or do not belong there."""
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    metadata = {name for name in names if re.match(r"cftransfer-[^/]*\.dist-info/", name)}
    own = {name.partition("/")[2] for name in metadata}
    return differences(names - metadata, in_wheel(tracked)) + differences(own, WHEELS_OWN)


def sdist_faults(sdist: Path, tracked: list[str]) -> list[str]:
    """Say in one line each which files of an sdist are missing or do not belong there."""
    with tarfile.open(sdist) as file:
        names = {member.name.partition("/")[2] for member in file if member.isfile()}
    names = {name for name in names if name in tracked or not MADE_BY_SETUPTOOLS.fullmatch(name)}
    return differences(names, in_sdist(tracked))


def differences(held: set[str], wanted: set[str]) -> list[str]:
    return [f"{name}: missing" for name in sorted(wanted - held)] + [
        f"{name}: does not belong there" for name in sorted(held - wanted)
    ]


def table(text: str) -> dict[int, list[float]]:
    """The numbers of each row of the main job's table, by its first column, the number of layers."""
    rows = re.findall(r"^ +(\d+) +(\d\.\d.*\)) *$", text, re.MULTILINE)
    return {int(layers): [float(number) for number in re.findall(r"\d*\.\d+", rest)] for layers, rest in rows}


def call(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return its standard output; its standard error is passed on."""
    return subprocess.run([str(word) for word in words], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def build(source: Path) -> tuple[Path, Path]:
    """Build sdist and wheel of HEAD, exported so that no ignored file can get into them; the wheel from the sdist."""
    if call("git", "status", "--porcelain"):
        sys.exit("release: the tree has changes, and HEAD alone is built; commit or stash them")
    call("git", "archive", "--output", source.with_suffix(".tar"), "HEAD")
    with tarfile.open(source.with_suffix(".tar")) as file:
        file.extractall(source, filter="data")
    shutil.rmtree(DIST, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", DIST, source)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def main_job(wheel: Path, folder: Path) -> str:
    """Install the wheel into an empty environment and return the main job's output there."""
    call(sys.executable, "-m", "venv", folder / "env")
    pip = [folder / "env" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return call(folder / "env" / "bin" / "cftransfer", *MAIN, cwd=folder)


def table_faults(printed: str, promised: str) -> list[str]:
    """Say in one line each which rows of a printed table are not as README prints them."""
    ours, theirs = table(printed), table(promised)
    if not theirs:
        return ["README.md: no table of the main job"]
    near = {
        row: len(ours.get(row, [])) == len(numbers)
        and all(abs(a - b) <= TOLERANCE for a, b in zip(ours[row], numbers, strict=True))
        for row, numbers in theirs.items()
    }
    return [f"{row} layers: printed {ours.get(row)}, README says {theirs[row]}" for row in near if not near[row]]


def main() -> None:
    """Build, compare, install and run; the first step with a fault ends it."""
    with TemporaryDirectory(prefix="cftransfer-release-") as folder:
        place = Path(folder)
        sdist, wheel = build(place / "source")
        tracked = call("git", "ls-tree", "-r", "--name-only", "HEAD").splitlines()
        print(call(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel))
        faults = [f"{wheel.name}: {fault}" for fault in wheel_faults(wheel, tracked)]
        faults += [f"{sdist.name}: {fault}" for fault in sdist_faults(sdist, tracked)]
        if faults:
            sys.exit("\n".join(faults))
        (place / "work").mkdir()
        printed = main_job(wheel, place / "work")
        print(printed)
        if faults := table_faults(printed, (ROOT / "README.md").read_text(encoding="utf-8")):
            sys.exit("\n".join(faults))
    for path in (sdist, wheel):
        print(f"dist/{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
