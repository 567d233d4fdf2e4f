"""The LightningModule that trains one network; `population.Population` is the same module for many of them."""

import cftransfer.models.torchvision_repair  # noqa: F401  (before Lightning and torchmetrics, which import torchvision)

# isort: split
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

from cftransfer.data.pixels import unit
from cftransfer.models.prediction import cross_entropy

Batch = tuple[Tensor, Tensor]


class Classifier(pl.LightningModule):
    """A binary classifier around any network, for anybody's Trainer, loggers and callbacks.

    It logs, once an epoch, `train_loss`, `val_loss`, `val_accuracy` and `val_auroc`, and from `Trainer.test` the same
    three as `test_…`. A loss is the mean binary cross entropy in nats. The checkpoint holds the network's weights, not
    the network: `Classifier.load_from_checkpoint(path, net=mlp(…))`.

    Args:
        net: (n, *input) in [0, 1] → (n,) or (n, 1) logits of class 1. It stays a plain module, `classifier.net`.
        lr: learning rate of Adam, > 0.

    >>> from cftransfer import dataset
    >>> from cftransfer.models.mlp import mlp
    >>> data = dataset("moons", rows=200)
    >>> classifier = Classifier(mlp(layers=1, width=8, input_shape=data.input_shape), lr=0.01)
    >>> tuple(classifier(data.x_test).shape)
    (40,)
    """

    def __init__(self, net: nn.Module, lr: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters("lr")  # by name: of a subclass, Lightning would copy all arguments, its data included
        self.net, self.lr = net, lr
        self.accuracy, self.auroc = self.configure_metrics()

    def configure_metrics(self) -> tuple[Metric, Metric]:
        """Return accuracy and AUROC, to be updated with probabilities of class 1 and with classes."""
        return BinaryAccuracy(), BinaryAUROC()

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, *input) in [0, 1], or bytes → (n,) logits of class 1."""
        return self.net(unit(x)).reshape(len(x))

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross entropy over rows: logits and y, (…, n) → (…)."""
        return cross_entropy(logits, y).mean(-1)

    def training_step(self, batch: Batch) -> Tensor:
        """Log and return the loss of a batch: x (n, *input) and y (n,), 0 or 1."""
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def validation_step(self, batch: Batch) -> None:
        """Log `val_loss`, `val_accuracy` and `val_auroc`."""
        self._score(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log `test_loss`, `test_accuracy` and `test_auroc`."""
        self._score(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam: element-wise, so that the members of a population do not meet in it."""
        return torch.optim.Adam(self.net.parameters(), lr=self.lr, fused=True)  # a fifth off a step

    def _score(self, batch: Batch, split: str) -> None:
        x, y = batch
        logits = self(x)
        self.accuracy.update(logits.sigmoid(), y.long())
        self.auroc.update(logits.sigmoid(), y.long())
        scores: dict[str, Tensor | Metric] = {
            f"{split}_loss": self.loss(logits, y),
            f"{split}_accuracy": self.accuracy,
            f"{split}_auroc": self.auroc,
        }
        self.log_dict(scores, batch_size=len(y))
