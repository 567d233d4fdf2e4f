"""`cftransfer boundary JOB…`: boundary pictures of jobs, with models from the store."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from torch import Tensor

from cftransfer import store
from cftransfer.columns import counterfactual_key
from cftransfer.commands.hardware import use
from cftransfer.commands.patch import base_spec, reference_spec
from cftransfer.commands.plan import reference_data
from cftransfer.data.dataset import Dataset, load
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError, as_command, plain
from cftransfer.jobs.read import Job, table
from cftransfer.jobs.schema import EXTRA_EPOCHS
from cftransfer.models.build import CPU
from cftransfer.models.prediction import Asked, logits, predicted
from cftransfer.report.boundary import FILLS, ROLES, Drawn, picture
from cftransfer.report.collect import jobs
from cftransfer.report.figures import written
from cftransfer.report.projection import plane
from cftransfer.settings import flat
from cftransfer.spec import Spec, with_hashes
from cftransfer.store.trained import trained

TRANSFERS = ("base", "reference", "base_seed", "reference_seed", "factual", "transferred")  # needed columns
CELLS = 2**28  # most cells of a table; 100 × 100 pairs with 1,000 counterfactuals have 10⁸
PAIRS = 60  # most pairs drawn; more lines hide the picture


def command() -> None:
    """Parse the jobs and draw each; a mistake of the user is one line and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m cftransfer.report.boundary", description="Decision regions in two dimensions."
    )
    parser.add_argument("job", nargs="+", type=Path, help="job folders of transfer.py, or folders that contain them")
    parser.add_argument("--projection", choices=("pca", "tsne"), default="pca", help="default: pca")
    parser.add_argument("--base", type=int, default=0, help="number of the base model; default: 0")
    parser.add_argument("--reference", type=int, help="number of the reference; default: the first that the base met")
    parser.add_argument("--out", type=Path, help="folder for the pictures; default: each job's folder")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cftransfer").setLevel(logging.INFO)
    with as_command("cftransfer.report.boundary"):
        collected = jobs(options.job)
    failures = [f"{folder}: {reason}" for folder, reason in collected.failed.items()]
    for job, place in zip(collected.jobs, _places(collected.jobs, options.out), strict=True):
        try:
            print(plain(f"boundary picture: {_draw(job, options, place)}"))
        except InputError as error:
            failures.append(f"{job.folder}: {error}")
    for failure in failures:
        print(plain(f"cftransfer.report.boundary: {failure}"), file=sys.stderr)
    sys.exit(1 if failures else 0)


def _draw(job: Job, options: argparse.Namespace, place: Path) -> str:
    """Write the picture of one job, with a name that starts with `place`; return the names of both files."""
    shown = drawn(job, base=options.base, reference=options.reference)
    where = plane(options.projection, shown.dataset, factuals=shown.factuals, counterfactuals=shown.counterfactuals)
    path = place.with_name(f"{place.name}-{where.name}")
    written(picture(shown, where), path)
    return f"{path}.png, {path.name}.svg"


def drawn(job: Job, *, base: int = 0, reference: int | None = None) -> Drawn:
    """Return the content of a job's picture: the chosen pair of models and its counterfactuals from the tables.

    reference: by default the base's first. InputError, without the folder, for a job that cannot be drawn.
    """
    transfers = table(job.folder, "transfers", TRANSFERS, cells=CELLS)
    asked = _asked(transfers, base=base, reference=reference)
    found = _found(job.folder, asked, base=base)
    if "${" in json.dumps(job.result.config):  # not written by a job; resolving it could read secrets
        raise InputError(
            "result.json: its config has a formula, ${…}, which cftransfer did not write; run the job again"
        )
    config = OmegaConf.create(job.result.config)
    specs = base_spec(config), reference_spec(config)
    dataset = load(specs[0]["dataset"], Path(config.paths.data))
    if dataset.version != job.result.data.get("version", ""):
        raise InputError(f"dataset {dataset.name}: its files have changed since; run the job again")
    data = (dataset, reference_data(config, dataset, specs))  # other training rows with experiment=shift
    if data[1] is not dataset and data[1].version != job.result.data.get("shifted", ""):
        raise InputError("reference.rows.dataset: its files have changed since; run the job again")
    _fits(found, dataset)
    if len(dataset.classes) > len(FILLS):
        raise InputError(f"dataset {dataset.name}: has {len(dataset.classes)} classes; a picture shows {len(FILLS)}")
    use(CPU, images=isinstance(dataset.space, PixelSpace))  # as in the job, in case models are missing
    place = store.prepare(config.paths.store)
    seeds, models = [], []
    for role, spec, known in zip(ROLES, specs, data, strict=True):
        pool = sorted(
            {int(seed) for seed in transfers[f"{role}_seed"]}
        )  # all, in one pass as in the job, in case they are missing
        seeds.append(int(asked[f"{role}_seed"].iloc[0]))
        population = trained(with_hashes(spec, known.model_version), pool, dataset=known, store=place)
        models.append(population[pool.index(seeds[-1])])
    changed = _changed(*specs)
    model = str(job.settings.get("model", "model"))
    rows = found.loc[_balanced(found.transferred.to_numpy())]
    return Drawn(
        dataset=dataset,
        models=(models[0], models[1]),
        titles=(f"base: {model}, seed {seeds[0]}", f"reference: {changed or model}, seed {seeds[1]}"),
        factuals=_inputs(rows.x),
        counterfactuals=_inputs(rows.counterfactual),
        classes=_classes(rows.factual_logit),
        transferred=rows.transferred.to_numpy(),
        every=found.transferred.to_numpy(),
        otherwise=_otherwise(found, models),
    )


def _classes(logits: pd.Series) -> np.ndarray:
    """Return the predicted class of each row from a column of logits, one number or K numbers per cell."""
    return predicted(torch.from_numpy(np.stack(list(logits)))).numpy()


def _asked(transfers: pd.DataFrame, *, base: int, reference: int | None) -> pd.DataFrame:
    """Return the rows of one pair; after further training, only the rows with most epochs."""
    bases = sorted(transfers.base.unique())
    if base not in bases:
        raise InputError(f"--base {base}: no such base; there are: {', '.join(map(str, bases))}")
    asked = transfers[transfers.base == base]
    met = sorted(asked.reference.unique())
    chosen = met[0] if reference is None else reference
    if chosen not in met:
        raise InputError(f"--reference {chosen}: base {base} did not meet it, but met: {', '.join(map(str, met))}")
    asked = asked[asked.reference == chosen]
    return asked[asked[EXTRA_EPOCHS] == asked[EXTRA_EPOCHS].max()] if EXTRA_EPOCHS in asked else asked


def _found(folder: Path, asked: pd.DataFrame, *, base: int) -> pd.DataFrame:
    """Return the counterfactuals that the base found, and whether each `transferred`."""
    searched = table(folder, "counterfactuals", ("base", "factual", "target", "found", "factual_logit"), cells=CELLS)
    if not {"x", "counterfactual"} <= set(searched.columns):
        raise InputError("its inputs are images; boundary pictures show only tables")
    searched = searched[(searched.base == base) & searched.found]
    if searched.empty:
        raise InputError(f"--base {base}: found no counterfactual that could be drawn")
    try:
        key = [name for name in counterfactual_key(searched) if name != "base"]
        found = searched.merge(asked[[*key, "transferred"]], on=key, validate="one_to_one")
        if len(found) < len(searched):
            raise ValueError("it lacks some")
        return found.astype({"transferred": bool})
    except (ValueError, TypeError) as error:  # pandas' error for a repeated factual or one without an answer
        reason = f"transfers.parquet does not have the same counterfactuals ({error})"
        raise InputError(f"{reason}; run the job again") from error


def _fits(found: pd.DataFrame, dataset: Dataset) -> None:
    """Refuse counterfactuals that do not fit the data set."""
    columns = dataset.x_train.shape[1]
    try:
        shapes = [_inputs(found[name]).shape for name in ("x", "counterfactual")]
        classes = _classes(found.factual_logit)
    except (ValueError, TypeError) as error:
        raise InputError(f"counterfactuals.parquet cannot be read ({error}); run the job again") from error
    if shapes != [(len(found), columns)] * 2 or classes.shape != (len(found),):
        raise InputError(f"counterfactuals.parquet: lacks the {columns} columns of {dataset.name}; run the job again")


def _changed(base: Spec, reference: Spec) -> str:
    """Return the settings of the reference that differ from its base, such as "model.layers=6"."""
    before, after = flat(base), flat(reference)
    differ = {name.removesuffix("._target_"): value for name, value in after.items() if before.get(name) != value}
    return " ".join(f"{name}={value}" for name, value in differ.items())


def _inputs(column: pd.Series) -> Tensor:
    return torch.from_numpy(np.stack(list(column)).astype(np.float32))


def _otherwise(found: pd.DataFrame, models: Sequence[Asked]) -> tuple[int, int]:
    """Return the numbers of counterfactuals that base and reference put in a class other than the tables'."""
    counterfactuals, target = _inputs(found.counterfactual), found.target.to_numpy()
    in_target = [predicted(logits(model, counterfactuals)).numpy() == target for model in models]
    return int((~in_target[0]).sum()), int((in_target[1] != found.transferred).sum())


def _balanced(transferred: np.ndarray) -> np.ndarray:
    """Return the rows to draw, ascending: the first of each kind, up to half of `PAIRS`, or more if there is room."""
    kinds = [np.flatnonzero(transferred), np.flatnonzero(~transferred)]
    room = [max(PAIRS // 2, PAIRS - len(other)) for other in reversed(kinds)]
    return np.sort(np.concatenate([kind[:most] for kind, most in zip(kinds, room, strict=True)]))


def _places(some: Sequence[Job], out: Path | None) -> list[Path]:
    """Return folder and start of the name of each job's picture; several jobs in `out` are named by folder."""
    if out is None:
        return [job.folder / "boundary" for job in some]
    if len(some) == 1:
        return [out / "boundary"]
    folders = [job.folder.resolve() for job in some]
    shared = os.path.commonpath(folders)
    return [out / "-".join(["boundary", *folder.relative_to(shared).parts]) for folder in folders]
