"""Several models of one spec, trained in one pass.

Their parameters are stacked, and one `vmap` computes all of them on their own batches. With the sum of the members'
losses and an element-wise optimiser, a member gets the updates that it would get alone; only rounding tells them apart.
"""

import cftransfer.models.torchvision_repair  # noqa: F401  (before Lightning and torchmetrics, which import torchvision)

# isort: split
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAccuracy, MultilabelAUROC

from cftransfer.data.pixels import unit
from cftransfer.models.prediction import rows_at_once

# Importing Lightning sets its loggers to INFO; its notes on hardware and subscriptions would stand in every job.
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)

BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
MOMENTS = ("exp_avg", "exp_avg_sq")


class Population(pl.LightningModule):
    """`members` are equal but for their weights.

    splits: x_train (n, *input) in [0, 1] or bytes, y_train (n,), x_test, y_test.
    seeds: one per member; with the epoch it fixes the order of its batches.
    epoch: epochs that the members have behind them; state: what `state()` gave after them, {} for none.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    loss_sum: Tensor

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        splits: dict[str, Tensor],
        seeds: Sequence[int],
        lr: float,
        batch_size: int,
        epoch: int = 0,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        weights, buffers = stack_module_state(list(members))
        if buffers:
            raise ValueError(f"a model with buffers ({', '.join(buffers)}) couples its rows or its epochs")
        self.names = tuple(weights)
        # Matrices are kept transposed in memory: their gradients arrive in that layout, and then need no copy.
        self.weights = nn.ParameterList(
            nn.Parameter(w.mT.contiguous().mT.detach() if w.dim() == 3 else w.detach()) for w in weights.values()
        )
        self._template = [deepcopy(members[0]).to("meta")]  # in a list: no submodule, so no parameters of its own
        for name, tensor in splits.items():
            self.register_buffer(name, tensor, persistent=False)
        self.seeds, self.lr, self.batch_size, self.first_epoch = tuple(seeds), lr, batch_size, epoch
        self._given = state or {}
        for name, weight in zip(self.names, self.weights, strict=True):
            if self._given:
                weight.data.copy_(self._given[f"weights/{name}"])
        # Every member is a label of one multi-label problem whose truth is the same for all: one call scores them all.
        # Without validate_args, which would refuse a population of one.
        self.metrics = MetricCollection(
            {
                "test_accuracy": MultilabelAccuracy(len(seeds), average="none", validate_args=False),
                "test_auroc": MultilabelAUROC(len(seeds), average="none", validate_args=False),
            }
        )
        self.register_buffer("loss_sum", torch.zeros(len(seeds)), persistent=False)
        curve = self._given.get("curve")
        self.curve: list[Tensor] = [] if curve is None else list(curve.unbind(1))  # (members, 4) per epoch
        self.after_step: Callable[[], None] = lambda: None
        self.after_epoch: Callable[[], None] = lambda: None

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """x: (members, n, *input), or (n, *input) if `shared` by all → (members, n) logits."""
        weights = dict(zip(self.names, self.weights, strict=True))
        if len(self.seeds) == 1:  # as it would be alone, without the detour by grouped kernels that vmap takes
            only = {name: weight.squeeze(0) for name, weight in weights.items()}
            return functional_call(self._template[0], only, (x if shared else x.squeeze(0),)).unsqueeze(0)

        def one(member: dict[str, Tensor], rows: Tensor) -> Tensor:
            return functional_call(self._template[0], member, (rows,))

        return vmap(one, in_dims=(0, None if shared else 0))(weights, x)

    def train_dataloader(self) -> "EpochBatches":
        """Return the members' batches of the current epoch; Lightning asks anew at every epoch."""
        epoch = self.first_epoch + self.current_epoch
        return EpochBatches(self.x_train, self.y_train, seeds=self.seeds, epoch=epoch, batch_size=self.batch_size)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the sum over members of the mean cross entropy of a member's batch."""
        x, y = batch
        losses = binary_cross_entropy_with_logits(self(x), y, reduction="none").mean(1)
        self.loss_sum += losses.detach() * x.shape[1]
        self.after_step()
        return losses.sum()

    def on_train_epoch_end(self) -> None:
        """Append the epoch's row of every member's curve, then call `after_epoch`."""
        with torch.no_grad():
            parts = self.x_test.split(rows_at_once(self.x_test, rows=256))  # fits the cache
            scores = torch.cat([self(unit(rows), shared=True) for rows in parts], dim=1)
        truth = self.y_test.expand_as(scores)
        test_loss = binary_cross_entropy_with_logits(scores, truth, reduction="none").mean(1)
        self.metrics.to(scores.device)
        self.metrics.update(scores.sigmoid().T, truth.T.long())
        metrics = self.metrics.compute()
        self.metrics.reset()
        train_loss = self.loss_sum / len(self.x_train)
        scored = [metrics[name].reshape(-1) for name in ("test_accuracy", "test_auroc")]  # of one member: a scalar
        self.curve.append(torch.stack([train_loss, test_loss, *scored], 1).cpu())
        self.loss_sum.zero_()
        self.after_epoch()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam: element-wise, so that stacked members do not meet in it."""
        self.adam = torch.optim.Adam(self.weights, lr=self.lr, fused=True)  # one kernel; a fifth off a step
        for name, weight in zip(self.names, self.weights, strict=True):
            if self._given:
                # In the memory layout of their weight: the fused kernel pairs elements by their place in memory.
                moments = {m: torch.zeros_like(weight).copy_(self._given[f"{m}/{name}"]) for m in MOMENTS}
                step = self._given["step"][0].to(weight.device, copy=True)
                self.adam.state[weight] = {"step": step, **moments}
        return self.adam

    def state(self) -> dict[str, Tensor]:
        """Return all that the next epoch depends on, members first: weights, Adam's moments and steps, the curve."""
        state = {"curve": torch.stack(self.curve, 1)}
        for name, weight in zip(self.names, self.weights, strict=True):
            adam = self.adam.state[weight]
            state[f"weights/{name}"] = weight.detach().cpu().clone()
            state |= {f"{moment}/{name}": adam[moment].cpu().clone() for moment in MOMENTS}
            state["step"] = adam["step"].cpu().expand(len(self.seeds)).clone()
        return state


class EpochBatches:
    """One epoch of batches, in memory: (members, batch, *input) and (members, batch), each member in its own order.

    The order is a function of the member's seed and the epoch alone; the last batch may be smaller.
    """

    def __init__(self, x: Tensor, y: Tensor, *, seeds: Sequence[int], epoch: int, batch_size: int) -> None:
        orders = np.stack([np.random.default_rng([seed, epoch]).permutation(len(x)) for seed in seeds])
        self.x, self.y, self.batches = x, y, torch.from_numpy(orders).to(x.device).split(batch_size, dim=1)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((unit(self.x[rows]), self.y[rows]) for rows in self.batches)


def fit(population: Population, *, epochs: int, accelerator: str) -> None:
    """Train for `epochs` more, under a progress bar in a terminal; KeyboardInterrupt if interrupted by Ctrl-C."""
    steps = epochs * -(-len(population.x_train) // population.batch_size)
    console = Console(stderr=True)
    with Progress(*BAR, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{len(population.seeds)} × {epochs} epochs", total=steps)
        population.after_step = lambda: bar.advance(task)
        _train(population, epochs=epochs, accelerator=accelerator)


def _train(population: Population, *, epochs: int, accelerator: str) -> None:
    with warnings.catch_warnings():
        # Lightning 2.6's own call of a name that torch 2.13 deprecates; nothing that we or a user could change.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", module=r"pytorch_lightning\.utilities\._pytree")
        # Where SLURM is installed, Lightning wants to be started by srun: for jobs of several devices, which none is.
        warnings.filterwarnings("ignore", message="The `srun` command is available", category=UserWarning)
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=epochs,
            reload_dataloaders_every_n_epochs=1,
            plugins=[LightningEnvironment()],  # not SLURM's: its signal handlers fight those of the launcher
            barebones=True,  # no logger, no checkpoints, no bar that is drawn anew at every step: a tenth of the time
        )
        try:
            trainer.fit(population)
        except SystemExit as interrupted:  # how Lightning answers Ctrl-C
            raise KeyboardInterrupt from interrupted
