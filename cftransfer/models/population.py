"""Many classifiers of one spec, trained in one pass.

Their parameters are stacked, and one `vmap` computes all members on their own batches. With the sum of the members'
losses and an element-wise optimiser, each member gets the same updates as when trained alone, up to rounding.
"""

import cftransfer.models.torchvision_repair  # noqa: F401  (before Lightning and torchmetrics, which import torchvision)

# isort: split
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torchmetrics import Metric
from torchmetrics.classification import MultilabelAccuracy, MultilabelAUROC

from cftransfer.columns import CURVE
from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.classifier import Batch, Classifier
from cftransfer.models.prediction import rows_at_once
from cftransfer.models.training_rows import TrainingRows

# Importing Lightning sets its loggers to INFO; its notes on hardware and subscriptions would clutter every job's log.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
DROPOUT = 0x64726F70  # separates the random numbers of dropout from those of the batch order
MOMENTS = ("exp_avg", "exp_avg_sq")


class Stacked(nn.Module):
    """Networks that differ only in their weights, as one module.

    weights: the parameters, each (members, *shape); `names`: their names in a single network.
    transposed: whether matrices are stored transposed. Gradients arrive in that layout and then need no copy, but
        products with few classes round differently in it.
    """

    def __init__(self, members: Sequence[nn.Module], *, transposed: bool = True) -> None:
        super().__init__()
        weights, buffers = stack_module_state(list(members))
        if buffers:
            some = ", ".join(list(buffers)[:3])
            way_out = "GroupNorm and LayerNorm do not, or train it with Classifier"
            raise InputError(f"model: has buffers ({some}), which couple rows or epochs; {way_out}")
        self.size, self.names = len(members), tuple(weights)
        self.units = getattr(members[0], "units", 0)
        self.weights = nn.ParameterList(
            nn.Parameter(w.mT.contiguous().mT.detach() if w.dim() == 3 and transposed else w.detach())
            for w in weights.values()
        )
        # Dropout depends on the numbers `drawn`, not on the mode.
        self._template = [
            deepcopy(members[0]).to("meta").eval()
        ]  # in a list, so that it is not a submodule with parameters

    def forward(self, x: Tensor, *, shared: bool = False, drawn: Tensor | None = None) -> Tensor:
        """x: (members, n, *input) in [0, 1], or (n, *input) if `shared` by all → (members, n, …) logits.

        drawn: (members, n, units) numbers in [0, 1) that decide which units dropout drops; None: drop none.
        """
        weights = dict(zip(self.names, self.weights, strict=True))
        if self.size == 1:  # computed as when alone, without vmap's grouped kernels
            only = {name: weight.squeeze(0) for name, weight in weights.items()}
            more = () if drawn is None else (drawn.squeeze(0),)
            return functional_call(self._template[0], only, (x if shared else x.squeeze(0), *more)).unsqueeze(0)

        def one(member: dict[str, Tensor], *arguments: Tensor) -> Tensor:
            return functional_call(self._template[0], member, arguments)

        more, along = ((), ()) if drawn is None else ((drawn,), (0,))
        return vmap(one, in_dims=(0, None if shared else 0, *along))(weights, x, *more)


class Population(Classifier):
    """`Classifier` for many networks at once, each with its own initialisation and its own order of batches.

    It holds its data: `Trainer.fit(population)` needs no loaders. After every epoch it scores all members on the test
    split, appends a row to `curve`, and logs the members' means under the names of `columns.CURVE`.

    Args:
        members: networks that differ only in their weights; they are copied.
        splits: x_train (n, *input) in [0, 1] or bytes, y_train (n,), x_test, y_test.
        seeds: one per member; seed and epoch fix the order of the member's batches.
        lr, batch_size: learning rate, and rows of each member's batch.
        optimizer, weight_decay, label_smoothing: as in `Classifier`.
        classes: number of classes, K ≥ 2; row_weight: (n,) ≥ 0, the weight of each training row in the loss, or None.
        rows: each member's training rows, all made by the same rule; None for all rows.
        epoch: epochs already trained; state: the result of `state()` after them.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    row_weight: Tensor | None
    row_index: Tensor | None
    loss_sum: Tensor
    net: Stacked
    validation_step = test_step = None  # type: ignore[assignment]  # no loop for Lightning: the class scores by itself

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        splits: dict[str, Tensor],
        seeds: Sequence[int],
        lr: float,
        batch_size: int,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        classes: int = 2,
        row_weight: Tensor | None = None,
        rows: Sequence[TrainingRows] | None = None,
        epoch: int = 0,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        # A single network with several classes equals the network trained alone, bit for bit.
        stacked = Stacked(members, transposed=classes == 2 or len(members) > 1)
        super().__init__(
            stacked,
            lr=lr,
            classes=classes,
            optimizer=optimizer,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
        )
        for name, tensor in splits.items():
            self.register_buffer(name, tensor, persistent=False)
        index, labels, weight = _together(rows or [TrainingRows()] * len(seeds), splits["y_train"], row_weight)
        self.register_buffer("y_train", labels, persistent=False)  # (n,) or (members, n), like the weights
        self.register_buffer("row_weight", weight, persistent=False)
        self.register_buffer("row_index", index, persistent=False)
        self.register_buffer("loss_sum", torch.zeros(len(seeds)), persistent=False)
        self.seeds, self.batch_size, self.first_epoch = tuple(seeds), batch_size, epoch
        self.curve: list[Tensor] = []  # (members, 4) per epoch, in the order of `columns.CURVE`
        self._given = state or {}
        if self._given:
            self.curve = list(self._given["curve"].unbind(1))
            for name, weight in zip(self.names, self.weights, strict=True):
                weight.data.copy_(self._given[f"weights/{name}"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, as in one member."""
        return self.net.names

    @property
    def weights(self) -> nn.ParameterList:
        """The parameters: (members, *shape) each."""
        return self.net.weights

    def configure_metrics(self) -> tuple[Metric, Metric]:
        """Return the metrics of `Classifier` with one number per member, so that one call scores all members.

        Every member is a label of one multi-label problem, with the same truth for all; validate_args is off because it
        would refuse a population of one. With K ≥ 3 classes the metrics of `Classifier` are used, member by member.
        """
        if self.classes > 2:
            return super().configure_metrics()
        each: dict[str, Any] = {"num_labels": self.net.size, "average": "none", "validate_args": False}
        return MultilabelAccuracy(**each), MultilabelAUROC(**each)

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """x: (members, n, *input) in [0, 1] or bytes, or (n, *input) if `shared` by all → (members, n) logits.

        With K ≥ 3 classes, (members, n, K).
        """
        return self.net(unit(x), shared=shared)

    def train_dataloader(self) -> "EpochBatches":
        """Return the members' batches of the current epoch; `fit` makes Lightning reload them every epoch."""
        epoch = self.first_epoch + self.current_epoch
        return EpochBatches(
            self.x_train,
            self.y_train,
            seeds=self.seeds,
            epoch=epoch,
            batch_size=self.batch_size,
            weight=self.row_weight,
            index=self.row_index,
        )

    def on_train_epoch_start(self) -> None:
        """Start the members' random numbers for dropout, which are functions of seed and epoch, like the batches."""
        epoch = self.first_epoch + self.current_epoch
        self._random = [np.random.default_rng([seed, epoch, DROPOUT]) for seed in self.seeds]

    def _drawn(self, rows: int) -> Tensor | None:
        """Return (members, rows, units) numbers in [0, 1) that decide which units are dropped; None without dropout."""
        if not self.net.units:
            return None
        drawn = [random.random((rows, self.net.units), dtype=np.float32) for random in self._random]
        return torch.from_numpy(np.stack(drawn)).to(self.device)

    def on_fit_start(self) -> None:
        """Refuse a Trainer that would repeat the batch order of the first epoch."""
        if self.trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]  # undeclared
            raise InputError("Trainer.reload_dataloaders_every_n_epochs: must be 1 to train a Population; or use fit")

    def training_step(self, batch: Batch) -> Tensor:
        """Return the sum of the members' losses; each member's gradient is then the gradient of its own loss."""
        x, y, *weight = batch
        losses = self.loss(self.net(unit(x), drawn=self._drawn(x.shape[1])), y, *weight, smoothing=self.label_smoothing)
        self.loss_sum += losses.detach() * x.shape[1]  # self.log at every step would take longer than the step
        return losses.sum()

    def on_train_epoch_end(self) -> None:
        """Append the epoch's row to every member's curve."""
        with torch.no_grad():
            parts = self.x_test.split(rows_at_once(self.x_test, rows=256))  # fits the cache
            scores = torch.cat([self(rows, shared=True) for rows in parts], dim=1)
        truth = self.y_test.expand(scores.shape[:2])
        rows = len(self.x_train) if self.row_index is None else self.row_index.shape[1]
        row = [self.loss_sum / rows, self.loss(scores, truth)]
        row += [
            self._scored(metric, self.probabilities(scores), truth.long()) for metric in (self.accuracy, self.auroc)
        ]
        self.curve.append(torch.stack(row, 1).cpu())
        self.loss_sum.zero_()
        self.log_dict(dict(zip(CURVE, self.curve[-1].mean(0), strict=True)))

    def _scored(self, metric: Metric, chances: Tensor, truth: Tensor) -> Tensor:
        """chances: (members, n) or (members, n, K), truth: (members, n) → (members,)."""
        if self.classes == 2:
            metric.update(chances.T, truth.T)
            scores = [metric.compute().reshape(-1)]  # a scalar for one member
            metric.reset()
            return scores[0]
        scores = []
        for member, classes in zip(chances, truth, strict=True):
            metric.update(member, classes)
            scores.append(metric.compute())
            metric.reset()
        return torch.stack(scores)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of `Classifier` over the stacked weights, restored from `state`."""
        self.adam = super().configure_optimizers()
        for name, weight in zip(self.names, self.weights, strict=True):
            if self._given and self.optimizer == "adam":
                # In the memory layout of the weight, because the fused kernel pairs elements by their place in memory.
                moments = {m: torch.zeros_like(weight).copy_(self._given[f"{m}/{name}"]) for m in MOMENTS}
                step = self._given["step"][0].to(weight.device, copy=True)
                self.adam.state[weight] = {"step": step, **moments}
        return self.adam

    def state(self) -> dict[str, Tensor]:
        """Return the state for the next epoch, members first: weights, Adam's moments and steps, and the curve."""
        state = {"curve": torch.stack(self.curve, 1)}
        state["step"] = torch.zeros(len(self.seeds))  # for SGD, which has no state
        for name, weight in zip(self.names, self.weights, strict=True):
            state[f"weights/{name}"] = weight.detach().cpu().clone()
            if self.optimizer == "adam":
                adam = self.adam.state[weight]
                state |= {f"{moment}/{name}": adam[moment].cpu().clone() for moment in MOMENTS}
                state["step"] = adam["step"].cpu().expand(len(self.seeds)).clone()
        return state


class EpochBatches:
    """One epoch of batches, in memory: (members, batch, *input) and (members, batch), each member in its own order.

    The order is a function of the member's seed and the epoch alone; the last batch may be smaller. x: (n, *input). y:
    (n,), or (members, n). weight: like y; adds a third part, (members, batch), to a batch. index: (members, m), the
    rows of each member; None for all.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        seeds: Sequence[int],
        epoch: int,
        batch_size: int,
        weight: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        many = len(x) if index is None else index.shape[1]
        orders = np.stack([np.random.default_rng([seed, epoch]).permutation(many) for seed in seeds])
        places = torch.from_numpy(orders).to(x.device)
        self.x, self.by_row = x, [part for part in (y, weight) if part is not None]
        self.batches = (places if index is None else index.gather(1, places)).split(batch_size, dim=1)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return ((self.x[rows], *(_of_rows(part, rows) for part in self.by_row)) for rows in self.batches)


def _of_rows(part: Tensor, rows: Tensor) -> Tensor:
    """part: (n,), or (members, n); rows: (members, batch) → (members, batch)."""
    return part[rows] if part.dim() == 1 else part.gather(1, rows)


def _together(
    rows: Sequence[TrainingRows], y: Tensor, weight: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Return index (members, m) or None, labels and weights, each (n,) or (members, n), of all members."""
    index, labels, kept = (
        None if getattr(rows[0], name) is None else torch.stack([getattr(one, name) for one in rows])
        for name in ("index", "labels", "kept")
    )
    counted = weight if kept is None else kept if weight is None else kept * weight
    return index, y if labels is None else labels, counted


class Snapshots(Checkpoint):
    """Call `keep` after every epoch, once the curve has its row; a Checkpoint, because Lightning calls those last.

    keep: a function of the population; its exceptions end the training.
    """

    def __init__(self, keep: Callable[[Population], None]) -> None:
        self.keep = keep

    def on_train_epoch_end(self, _: pl.Trainer, population: pl.LightningModule) -> None:
        """Call `keep`."""
        assert isinstance(population, Population)
        self.keep(population)


class StepBar(Callback):
    """Advance a progress bar of rich at every step."""

    def __init__(self, advance: Callable[[], None]) -> None:
        self.advance = advance

    def on_train_batch_end(self, *_: Any) -> None:
        """Advance the bar."""
        self.advance()


def fit(population: Population, *, epochs: int, accelerator: str, callbacks: Sequence[Callback] = ()) -> None:
    """Train for `epochs` more epochs, with a progress bar in a terminal; KeyboardInterrupt on Ctrl-C."""
    steps = epochs * -(-len(population.x_train) // population.batch_size)
    console = Console(stderr=True)
    if not console.is_terminal:
        _train(population, epochs=epochs, accelerator=accelerator, callbacks=callbacks)
        return
    with Progress(*BAR, console=console, transient=True) as bar:
        task = bar.add_task(f"{len(population.seeds)} × {epochs} epochs", total=steps)
        step_bar = StepBar(lambda: bar.advance(task))
        _train(population, epochs=epochs, accelerator=accelerator, callbacks=[step_bar, *callbacks])


def _train(population: Population, *, epochs: int, accelerator: str, callbacks: Sequence[Callback]) -> None:
    with warnings.catch_warnings():
        # Lightning 2.6 itself uses a name that torch 2.13 deprecates; neither we nor a user can change that.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", module=r"pytorch_lightning\.utilities\._pytree")
        # With SLURM installed, Lightning advises srun for jobs with several devices; our jobs use one.
        warnings.filterwarnings("ignore", message="The `srun` command is available", category=UserWarning)
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=epochs,
            reload_dataloaders_every_n_epochs=1,
            plugins=[LightningEnvironment()],  # not SLURM's, because its signal handlers conflict with the launcher's
            callbacks=list(callbacks),
            # Lightning's logger, bar and summary take a tenth of the time. Not `barebones`, which allows no Checkpoint.
            logger=False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(population)
        except SystemExit as interrupted:  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from interrupted
