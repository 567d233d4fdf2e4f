"""Let torchvision's wheel be imported beside a CPU-only torch.

The wheel on PyPI is compiled for CUDA. Beside a torch without it, its operators cannot be loaded, and
`import torchvision` then fails with `operator torchvision::nms does not exist`, and takes torchmetrics and Lightning,
which import it, down with it. The operators themselves are not needed here: their schemas are declared, the import goes
through, and a call of one still says that it has no implementation. An install that works, or that is broken in
another way, is left alone.

Import this module before the first import of torchvision, torchmetrics or pytorch_lightning.
"""

import importlib
import importlib.util
import re
import sys

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("torchvision::nms", "torchvision::qnms")


def repair() -> bool:
    """Import torchvision if it is installed; return whether that took a repair."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if not re.search(r"operator torchvision::\w+ does not exist", str(error)):
            raise
    else:
        return False
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    for operator in OPERATORS:
        torch.library.define(operator, SCHEMA)
    importlib.import_module("torchvision")
    return True


repair()
