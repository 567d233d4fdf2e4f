"""The LightningModule that trains one network; `population.Population` is the same module for many networks."""

import cftransfer.models.torchvision_repair  # noqa: F401  (before Lightning and torchmetrics, which import torchvision)

# isort: split
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, MulticlassAccuracy, MulticlassAUROC

from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.prediction import cross_entropy
from cftransfer.settings import check_choice, check_int

Batch = tuple[Tensor, ...]  # x, y and, if rows have weights, the weights


class Classifier(pl.LightningModule):
    """A classifier around any network, for any Trainer, loggers and callbacks.

    Logs `train_loss`, `val_loss`, `val_accuracy` and `val_auroc` once an epoch, and from `Trainer.test` the last three
    as `test_…`. A loss is the mean cross entropy in nats, binary or over K classes; with K classes, the AUROC is the
    mean of each class against the rest. Batches are (x, y), or (x, y, weight) with the training loss Σwℓ / Σw. The
    checkpoint holds the network's weights, not the network: `Classifier.load_from_checkpoint(path, net=mlp(…))`.

    Args:
        net: (n, *input) in [0, 1] → (n,) or (n, 1) logits of class 1, or (n, K) of K ≥ 3 classes. It stays available
            as a plain module, `classifier.net`.
        lr: learning rate of the optimiser, > 0.
        classes: number of classes, K ≥ 2 (len(data.classes)).
        optimizer: adam, or sgd without momentum, both at a fixed rate.
        weight_decay: ≥ 0; weight_decay times each weight is added to its gradient.
        label_smoothing: share of a training label, in [0, 1), that is spread evenly over all classes.

    >>> from cftransfer import dataset
    >>> from cftransfer.models.mlp import mlp
    >>> data = dataset("moons", rows=200)
    >>> classifier = Classifier(mlp(layers=1, width=8, input_shape=data.input_shape), lr=0.01)
    >>> tuple(classifier(data.x_test).shape)
    (40,)
    """

    def __init__(
        self,
        net: nn.Module,
        lr: float = 1e-3,
        classes: int = 2,
        *,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        # By name, because Lightning would copy all arguments of a subclass, its data included.
        self.save_hyperparameters("lr", "classes", "optimizer", "weight_decay", "label_smoothing")
        self.optimizer = check_choice("training.optimizer", optimizer)
        self.weight_decay, self.label_smoothing = weight_decay, label_smoothing
        self.net, self.lr, self.classes = net, lr, check_int("classes", classes, least=2)
        self.accuracy, self.auroc = self.configure_metrics()

    def configure_metrics(self) -> tuple[Metric, Metric]:
        """Return accuracy and AUROC, which are updated with `probabilities` and classes."""
        if self.classes == 2:
            return BinaryAccuracy(), BinaryAUROC()
        return MulticlassAccuracy(self.classes, average="micro"), MulticlassAUROC(self.classes, average="macro")

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, *input) in [0, 1], or bytes → (n,) logits of class 1, or (n, K) of K ≥ 3 classes."""
        logits = self.net(unit(x))
        taken = ((len(x),), (len(x), 1)) if self.classes == 2 else ((len(x), self.classes),)
        if tuple(logits.shape) not in taken:
            given = f"logits of shape {tuple(logits.shape)} for {len(x)} rows and {self.classes} classes"
            raise InputError(f"net: gives {given}; Classifier(…, classes=K) takes (n, K), or (n,) where K is 2")
        return logits.reshape(taken[0])

    def loss(self, logits: Tensor, y: Tensor, weight: Tensor | None = None, *, smoothing: float = 0.0) -> Tensor:
        """Return the mean cross entropy over rows: logits, (…, n) or (…, n, K), and y, (…, n) → (…).

        weight: (…, n), the weight of each row in the mean; None if all count the same. smoothing: of the labels.
        """
        losses = cross_entropy(logits, y, smoothing=smoothing)
        if weight is None:
            return losses.mean(-1)
        total = weight.sum(-1).clamp_min(torch.finfo(weight.dtype).tiny)  # 0 if no row of a batch counts
        return (weight * losses).sum(-1) / total

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of class 1, (…, n), or of every class, (…, n, K)."""
        return logits.sigmoid() if self.classes == 2 else logits.softmax(-1)

    def training_step(self, batch: Batch) -> Tensor:
        """Log and return the loss of a batch: x (n, *input), y (n,) classes and, optionally, weights (n,)."""
        x, y, *weight = batch
        loss = self.loss(self(x), y, *weight, smoothing=self.label_smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def validation_step(self, batch: Batch) -> None:
        """Log `val_loss`, `val_accuracy` and `val_auroc`."""
        self._score(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log `test_loss`, `test_accuracy` and `test_auroc`."""
        self._score(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam or SGD, which work element by element and thus keep the members of a population independent."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        # fused: steps take a fifth less time
        return kind(self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def _score(self, batch: Batch, split: str) -> None:
        x, y, *weight = batch
        logits = self(x)
        chances = self.probabilities(logits)
        self.accuracy.update(chances, y.long())
        self.auroc.update(chances, y.long())
        scores: dict[str, Tensor | Metric] = {
            f"{split}_loss": self.loss(logits, y, *weight),
            f"{split}_accuracy": self.accuracy,
            f"{split}_auroc": self.auroc,
        }
        self.log_dict(scores, batch_size=len(y))
