"""Milliseconds per model and step: the usual Lightning loop, one model at a time, against a population in one pass.

python benchmarks/training.py        MLP 4×64 on COMPAS, batch 64, one thread; the last line is `ratio X.X`

Both train through the same Lightning, without progress bar, logger and checkpoints. The usual loop fetches from a
DataLoader and logs its loss and its accuracy, as introductions to Lightning do; the population scores every member's
accuracy and AUROC on the test split at every epoch. Rounds alternate, and the median of their ratios counts: a
machine that drifts, drifts for both.
"""

import cftransfer.models.torchvision_repair  # noqa: F401, I001 (before Lightning)

import time
import warnings
from pathlib import Path
from statistics import median

import pytorch_lightning as pl
import torch
from machine import describe
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy

from cftransfer.data.compas import compas
from cftransfer.models.population import Population, fit
from cftransfer.models.build import build

MODEL = {"_target_": "mlp", "layers": 4, "width": 64}
BATCH, EPOCHS, ROUNDS, SIZES = 64, 5, 9, (1, 8, 32)


class UsualModule(pl.LightningModule):
    """One model, as Lightning's own introduction trains it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.accuracy = model, BinaryAccuracy()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Log loss and accuracy, return the loss."""
        x, y = batch
        logit = self.model(x)
        loss = binary_cross_entropy_with_logits(logit, y)
        self.accuracy(logit, y)
        self.log("train_loss", loss)
        self.log("train_accuracy", self.accuracy)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over the one model."""
        return torch.optim.Adam(self.parameters(), lr=0.001)


def main() -> None:
    torch.set_num_threads(1)
    data = compas(Path("data"), test_share=0.2, split_seed=0)
    steps = EPOCHS * -(-len(data.x_train) // BATCH)
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}

    def usual() -> float:
        module = UsualModule(build(MODEL, input_shape=data.input_shape, seed=0))
        loader = DataLoader(TensorDataset(data.x_train, data.y_train), batch_size=BATCH, shuffle=True)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=EPOCHS,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        with warnings.catch_warnings():
            # Lightning's advice to use worker processes, which are slower here, and its use of a deprecated name.
            warnings.filterwarnings("ignore", message=".*(does not have many workers|LeafSpec).*")
            start = time.perf_counter()
            trainer.fit(module, loader)
        return 1000 * (time.perf_counter() - start) / steps

    def population(size: int) -> float:
        members = [build(MODEL, input_shape=data.input_shape, seed=seed) for seed in range(size)]
        together = Population(members, splits=splits, seeds=range(size), lr=0.001, batch_size=BATCH)
        start = time.perf_counter()
        fit(together, epochs=EPOCHS, accelerator="cpu")  # with accuracy and AUROC of every member at every epoch
        return 1000 * (time.perf_counter() - start) / steps / size

    print(describe())
    print(f"COMPAS, {len(data.x_train)} rows, MLP 4×64, batch {BATCH}, {EPOCHS} epochs, median of {ROUNDS} rounds")
    usual(), population(1)  # warm up
    rounds = [(usual(), *(population(size) for size in SIZES)) for _ in range(ROUNDS)]
    theirs, *ours = (median(column) for column in zip(*rounds, strict=True))
    print(f"usual Lightning loop, one model at a time  {theirs:6.3f} ms per model and step")
    for size, figure in zip(SIZES, ours, strict=True):
        print(f"population of {size:2d}                           {figure:6.3f} ms per model and step")
    ratios = [usual_ / of_32 for usual_, *_, of_32 in rounds]
    print(f"usual over population of 32, round by round: {', '.join(f'{ratio:.1f}' for ratio in ratios)}")
    print(f"ratio {median(ratios):.1f}")


if __name__ == "__main__":
    main()
