"""Trained models → a folder with models, feature space and rows that other libraries read without cftransfer.

Networks are written as torch.export programs (.pt2), which load with torch alone, take any number of rows and keep
gradients. TorchScript is deprecated in their favour, and ONNX needs another runtime.
"""

import copy
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save as serialise
from torch import nn

from cftransfer.atomic import disk, write
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models import load_exported
from cftransfer.models.prediction import Asked
from cftransfer.models.sklearn_models import SklearnModel
from cftransfer.models.sklearn_storage import as_skops

FACTUAL, LABEL = "factual", "label"  # extra columns; files of counterfactuals use the same name for their factual
ROWS = 2  # of the traced input; torch.export would treat 1 as a constant


def export(folder: Path, models: Mapping[int, Asked], dataset: Dataset) -> None:
    """Write models by their seed, the feature space, the rows of the data set, and `load.py`, which reads them.

    Every file appears whole or not at all. Other models of an earlier export are removed, since their feature space may
    differ. InputError for a network that torch.export cannot trace, for a feature with a reserved name, and for a
    folder that cannot be written.
    """
    contents = {**_rows(dataset), "feature_space.json": json.dumps(_space(dataset), indent=2, allow_nan=False).encode()}
    for seed, model in models.items():
        contents |= {f"model-{seed}{suffix}": content for suffix, content in _files(model, dataset)}
    contents["load.py"] = Path(load_exported.__file__).read_bytes()
    with disk(folder):
        for earlier in folder.glob("model-*"):
            if earlier.suffix in (".pt2", ".safetensors", ".skops") and earlier.name not in contents:
                earlier.unlink()
    for name, content in contents.items():
        write(folder / name, content)


def _files(model: Asked, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Yield suffix and content of the files of one model."""
    if isinstance(model, SklearnModel):
        yield ".skops", as_skops(model)
        return
    network = copy.deepcopy(cast(nn.Module, model)).cpu().eval()
    state = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    yield ".safetensors", serialise(state)
    yield ".pt2", _program(network, dataset.input_shape)


def _program(network: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """Return the network as the bytes of a torch.export program, for any number of rows."""
    x, content = torch.zeros(ROWS, *input_shape), io.BytesIO()
    try:
        program = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    except Exception as error:  # tracing can raise anything
        reason = str(error).strip().partition("\n")[0]
        way_out = "write its forward without branches on values, or leave out export"
        raise InputError(f"export: torch.export cannot follow the network ({reason}); {way_out}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths of this machine
    torch.export.save(program, content)
    return content.getvalue()


def _space(dataset: Dataset) -> dict[str, Any]:
    """Return the content of feature_space.json."""
    classes = list(dataset.classes)
    if isinstance(dataset.space, PixelSpace):
        return {"shape": list(dataset.space.shape), "classes": classes}
    features = [{**asdict(one), "columns": FeatureSpace((one,)).columns} for one in dataset.space.features]
    return {"features": features, "classes": classes}


def _rows(dataset: Dataset) -> dict[str, bytes]:
    """Return the files of the data set's rows; for images only the factuals."""
    if isinstance(dataset.space, PixelSpace):
        content, x, y = io.BytesIO(), dataset.x_test.numpy(), dataset.y_test.long().numpy()
        np.savez_compressed(content, factual=np.arange(len(x)), x=x, label=y)
        return {"factuals.npz": content.getvalue()}
    if taken := {FACTUAL, LABEL} & {*dataset.space.names}:
        raise InputError(f"export: the data set has a feature {min(taken)!r}, which names a column here; rename it")
    factuals = dataset.space.decode(dataset.x_test.numpy()).assign(**{LABEL: dataset.y_test.long().numpy()})
    factuals.insert(0, FACTUAL, np.arange(len(factuals)))
    training = dataset.space.decode(dataset.x_train.numpy()).assign(**{LABEL: dataset.y_train.long().numpy()})
    return {"factuals.parquet": _parquet(factuals), "training.parquet": _parquet(training)}


def _parquet(table: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    table.to_parquet(content, index=False)
    return content.getvalue()
