"""ImageNet (Russakovsky et al. 2015) as a balanced binary task: orange (n07747607) against everything else."""

from dataclasses import replace
from pathlib import Path

from cftransfer.data.dataset import Dataset
from cftransfer.data.image_folder import image_folder

ORANGE = "n07747607"


def imagenet_orange(
    folder: Path, *, root: str = "imagenet", size: int = 224, corrupt: str = "refuse", split_seed: int = 0
) -> Dataset:
    """Class 1 is an orange, class 0 an image of any other synset, drawn evenly over these; as `image_folder`.

    Reads `folder`/`root`/{train,val}/<synset>/*.JPEG, where `root` may be absolute.
    """
    images = image_folder(folder, positive=ORANGE, root=root, size=size, corrupt=corrupt, split_seed=split_seed)
    return replace(images, name="imagenet_orange", classes=("other", "orange"))
