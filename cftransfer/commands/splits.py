"""replicates.splits: one config per split of the rows, and which data sets have no other split."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.settings import check_int
from cftransfer.spec import key
from cftransfer.store.searched import IMPORTED

WAY_OUT = "leave out replicates.splits"
RARE = 10  # test rows of a class; of 20 rows, two random halves are the same with a probability of 5 in 10⁶


def by_split(cfg: DictConfig) -> list[DictConfig]:
    """Return a config for each split: those of split_seed, split_seed + 1, …; InputError where there is one split."""
    many = check_int("replicates.splits", cfg.replicates.splits)
    if many == 1:
        return [cfg]
    if "split_seed" not in cfg.dataset or OmegaConf.select(cfg, "dataset.test_path") is not None:
        raise one_fixed_split(many, str(cfg.dataset.get("_target_")))
    if cfg.counterfactual.get("_target_") == IMPORTED:
        raise InputError(f"replicates.splits={many}: files of counterfactuals are of one split; {WAY_OUT}")
    first = check_int("dataset.split_seed", cfg.dataset.split_seed)
    configs = [copy.deepcopy(cfg) for _ in range(many)]
    for split_seed, own in enumerate(configs, first):
        OmegaConf.update(own, "dataset.split_seed", split_seed)
    return configs


def check_splits(datasets: Sequence[Dataset]) -> None:
    """Refuse splits that keep all test rows of a class, as where split_seed draws other rows of a fixed split.

    Two splits may share the few test rows of a rare class by chance, so classes below `RARE` count only together.
    """
    first, second = (_test_rows(dataset) for dataset in datasets[:2])
    kept = [rows == others for rows, others in zip(first, second, strict=True)]
    if all(kept) or any(same for same, rows in zip(kept, first, strict=True) if len(rows) >= RARE):
        raise one_fixed_split(len(datasets), datasets[0].name)


def one_fixed_split(many: int, name: str) -> InputError:
    """Return the error for a data set without further splits."""
    return InputError(f"replicates.splits={many}: dataset={name} has one fixed split; {WAY_OUT}")


def joined_identity(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the description of all splits' data: that of the first, with versions of all and the notes of each.

    by_seed: the description of each split's data, by its split_seed.
    """
    identities = [*by_seed.values()]
    said = dict(identities[0])
    for name in ("version", "shifted"):
        if name in said:
            said[name] = key(*(one[name] for one in identities))
    said.pop("notes", None)
    notes = [f"split {seed}: {note}" for seed, one in by_seed.items() for note in one.get("notes", [])]
    return said | ({"notes": notes} if notes else {})


def _test_rows(dataset: Dataset) -> list[list[bytes]]:
    """Return by class the hashes of the test rows, sorted."""
    classes = range(len(dataset.classes))
    return [sorted(map(_hash, dataset.x_test[dataset.y_test == number])) for number in classes]


def _hash(row: Tensor) -> bytes:
    return hashlib.sha256(row.contiguous().numpy().tobytes()).digest()
