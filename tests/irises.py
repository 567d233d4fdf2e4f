"""Fisher's irises (scikit-learn has them) as a data set of three classes, which a package could offer."""

from pathlib import Path

import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from cftransfer.data.dataset import Dataset
from cftransfer.data.feature import Feature
from cftransfer.data.space import fit

OPTION = """
_target_: irises
split_seed: 0
weighted: false
"""


def irises(folder: Path, *, split_seed: int = 0, weighted: bool = False) -> Dataset:
    """60 rows to train on, 90 to test; weighted: the last class counts four times."""
    known = load_iris(as_frame=True)
    table = known.data.rename(columns=lambda name: name.removesuffix(" (cm)"))
    train, test = train_test_split(range(150), test_size=0.6, stratify=known.target, random_state=split_seed)
    space = fit([Feature(name=name, kind="continuous") for name in table], table.iloc[train])
    x, y = torch.from_numpy(space.encode(table)), torch.tensor(known.target.to_list()).float()
    return Dataset(
        name="irises",
        x_train=x[train],
        y_train=y[train],
        x_test=x[test],
        y_test=y[test],
        space=space,
        classes=tuple(known.target_names.tolist()),
        from_files=False,
        weight=1 + 3 * (y[train] == 2).float() if weighted else None,
    )


def installed(folder: Path) -> dict[str, str]:
    """Write the files of an installed package that offers them, and an option; return the environment for it."""
    about = folder / "irises-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: irises\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[cftransfer.datasets]\nirises = irises:irises\n")
    (folder / "configs" / "dataset").mkdir(parents=True)
    (folder / "configs" / "dataset" / "irises.yaml").write_text(OPTION)
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parent}"}
