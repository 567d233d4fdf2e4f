"""ImageNet (Russakovsky et al. 2015) as a balanced binary task: orange (n07747607) against everything else."""

from pathlib import Path

from cftransfer.data.dataset import Dataset
from cftransfer.data.image_folder import from_tree

ORANGE = "n07747607"


def imagenet_orange(folder: Path, *, root: str, size: int, corrupt: str, split_seed: int) -> Dataset:
    """Class 1 is an orange, class 0 an image of any other synset, drawn evenly over these; as `image_folder`.

    Reads `folder`/`root`/{train,val}/<synset>/*.JPEG, where `root` may be absolute.
    """
    return from_tree(
        "imagenet_orange",
        folder,
        root=root,
        positive=ORANGE,
        size=size,
        corrupt=corrupt,
        split_seed=split_seed,
        classes=("other", "orange"),
    )
