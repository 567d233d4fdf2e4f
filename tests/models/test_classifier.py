"""The LightningModule under a Lightning user's own Trainer, and a population of one beside it."""

import pandas as pd
import pytest
import torch
from test_population import population

import cftransfer as cft
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.classifier import Classifier
from cftransfer.models.cnn import cnn
from cftransfer.models.mlp import mlp
from cftransfer.models.population import EpochBatches, fit

# isort: split
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.plugins.environments import LightningEnvironment

LOGGED = {"train_loss", "val_loss", "val_accuracy", "val_auroc"}
# Lightning's advice to load with worker processes, its call of a name that torch 2.13 deprecates, and, where SLURM is
# installed, its wish to be started by srun.
pytestmark = pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|`srun` command is available).*")


def trainer(folder, **settings):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "log_every_n_steps": 1}
    return pl.Trainer(
        default_root_dir=folder, accelerator="cpu", plugins=[LightningEnvironment()], **{**quiet, **settings}
    )


@pytest.fixture(scope="module")
def images():
    """Bytes: digits with a bright upper half are class 1."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 200, (120, 1, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, 2, (120,), generator=generator).float()
    x[y == 1, :, :4] += 55
    return Dataset(
        name="halves", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:], space=PixelSpace((1, 8, 8)),
        classes=("dark", "bright"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "data"),
    [(lambda shape: mlp(layers=2, width=16, input_shape=shape), "compas"),
     (lambda shape: cnn(layers=2, width=8, input_shape=shape), "images")],
    ids=["mlp", "cnn"],
)  # fmt: skip
def test_a_user_trains_it_with_an_own_trainer_logger_and_checkpoint(made, data, request, tmp_path):
    data = request.getfixturevalue(data)
    classifier = cft.Classifier(made(data.input_shape), lr=0.002)
    best = ModelCheckpoint(tmp_path / "best", monitor="val_accuracy", mode="max")
    train, test = data.loaders(batch_size=64)
    trainer(tmp_path, max_epochs=2, logger=CSVLogger(tmp_path), callbacks=[best]).fit(classifier, train, test)

    logged = pd.read_csv(tmp_path / "lightning_logs" / "version_0" / "metrics.csv")
    assert set(logged.columns) == LOGGED | {"epoch", "step"}
    assert all(logged[name].notna().sum() == 2 for name in LOGGED)
    assert best.best_model_score == logged.val_accuracy.max()

    loaded = Classifier.load_from_checkpoint(best.best_model_path, net=made(data.input_shape)).eval()
    assert loaded.hparams == {"lr": 0.002, "classes": 2} | {
        "optimizer": "adam",
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
    }
    with torch.no_grad():
        said = loaded(data.x_test)
        accuracy = ((said > 0) == data.y_test).float().mean()
        assert accuracy == pytest.approx(logged.val_accuracy.max(), abs=1e-6)
        if logged.val_accuracy.idxmax() == logged.val_accuracy.last_valid_index():  # the last epoch was the best
            assert torch.equal(said, classifier.eval()(data.x_test))


def test_it_learns_and_its_scores_are_those_of_scikit_learn(moons, tmp_path):
    from sklearn.metrics import roc_auc_score

    classifier = Classifier(mlp(layers=2, width=32, input_shape=(2,)), lr=0.01)
    train, test = moons.loaders(batch_size=32)
    with_moons = trainer(tmp_path, max_epochs=20, enable_checkpointing=False)
    with_moons.fit(classifier, train, test)
    (scores,) = with_moons.test(classifier, test, verbose=False)
    assert set(scores) == {"test_loss", "test_accuracy", "test_auroc"}
    assert scores["test_accuracy"] > 0.9
    logits = cft.models.prediction.logits(classifier.net, moons.x_test)
    assert scores["test_auroc"] == pytest.approx(roc_auc_score(moons.y_test, logits), abs=1e-6)
    assert scores["test_accuracy"] == pytest.approx(float(((logits > 0) == moons.y_test).float().mean()))


def test_bytes_and_their_numbers_get_the_same_logits(images):
    classifier = Classifier(cnn(layers=1, width=8, input_shape=images.input_shape))
    assert torch.equal(classifier(images.x_test), classifier(images.x_test.float() / 255))


def test_a_network_with_a_column_of_logits_is_taken(moons):
    assert Classifier(torch.nn.Linear(2, 1))(moons.x_test).shape == (100,)


def test_loaders_have_every_row_in_an_order_of_the_seed_that_changes_with_the_epoch(moons):
    train, test = moons.loaders(batch_size=64, seed=3)
    again, _ = moons.loaders(batch_size=64, seed=3)
    first, second = (torch.cat([x for x, _ in train]) for _ in range(2))
    assert torch.equal(first, torch.cat([x for x, _ in again]))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, moons.x_train.sort(0).values)
    assert torch.equal(torch.cat([x for x, _ in test]), moons.x_test)


class BatchesOf:
    """A loader with the batches of a population's member, epoch after epoch."""

    def __init__(self, data, seed):
        self.data, self.seed, self.epoch = data, seed, 0

    def __len__(self):
        return (len(self.data.x_train) + 63) // 64

    def __iter__(self):
        batches = EpochBatches(self.data.x_train, self.data.y_train, seeds=[self.seed], epoch=self.epoch, batch_size=64)
        self.epoch += 1  # by the first batch, not by iter(): Lightning makes more iterators than it uses
        for x, y in batches:
            yield x[0], y[0]


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_population_of_one_is_a_classifier_that_gets_the_same_batches(name, compas, images, tmp_path):
    data = {"mlp": compas, "cnn": images}[name]
    model = {"_target_": name, "layers": 2, "width": 16}
    together = population(data, [7], model=model)
    fit(together, epochs=3, accelerator="cpu")
    alone = Classifier(build(model, input_shape=data.input_shape, seed=7), lr=0.001)
    with_batches = trainer(tmp_path, max_epochs=3, enable_checkpointing=False)
    with_batches.fit(alone, BatchesOf(data, 7), data.loaders()[1])
    got = dict(zip(together.names, together.weights, strict=True))
    for parameter, weight in alone.net.named_parameters():
        assert torch.equal(got[parameter][0], weight)
    # The curve is the same too; Lightning averages losses in another order, so the last bits may differ.
    logged = [with_batches.callback_metrics[key] for key in ("train_loss", "val_loss", "val_accuracy", "val_auroc")]
    torch.testing.assert_close(together.curve[-1][0], torch.stack(logged), rtol=1e-6, atol=1e-6)


def test_a_population_logs_the_means_of_its_members_under_the_names_of_the_curve(moons):
    seen = []

    class Look(Callback):
        def on_train_epoch_start(self, trainer, _):
            seen.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    together = population(moons, [0, 1])
    fit(together, epochs=2, accelerator="cpu", callbacks=[Look()])
    names = ("train_loss", "test_loss", "test_accuracy", "test_auroc")
    assert seen[1] == pytest.approx(dict(zip(names, together.curve[0].mean(0).tolist(), strict=True)))


def test_a_population_refuses_a_trainer_that_would_repeat_its_first_order(moons, tmp_path):
    with pytest.raises(InputError, match="reload_dataloaders_every_n_epochs: must be 1"):
        trainer(tmp_path, max_epochs=1, enable_checkpointing=False).fit(population(moons, [0]))
    own = trainer(tmp_path, max_epochs=1, enable_checkpointing=False, reload_dataloaders_every_n_epochs=1)
    own.fit(population(moons, [0, 1]))
    assert own.callback_metrics["test_accuracy"] > 0.5
