"""Make torchvision's wheel importable beside a CPU-only torch.

The wheel on PyPI is compiled for CUDA. Beside a CPU-only torch its operators cannot be loaded, so `import torchvision`
fails with `operator torchvision::nms does not exist`, and so do torchmetrics and Lightning, which import it. Nothing
here needs the operators: this module declares their schemas, and the import succeeds; calling an operator still fails
for lack of an implementation. A working install, or one broken in another way, is left alone.

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
    """Import torchvision if it is installed; return whether a repair was needed."""
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
