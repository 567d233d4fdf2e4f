"""Three classes, and rows with weights: trained models equal those of torch's and scikit-learn's own means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from irises import irises
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from test_classifier import BatchesOf, trainer
from torch import nn

import cftransfer as cft
from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.models.build import build, build_for, check_training
from cftransfer.models.classifier import Classifier
from cftransfer.models.cnn import cnn
from cftransfer.models.population import EpochBatches, Population, fit
from cftransfer.models.prediction import logits, predicted
from cftransfer.models.sklearn_models import curve_row

MLP = {"_target_": "mlp", "layers": 2, "width": 16}
SKLEARN = ["logistic_regression", "decision_tree", "random_forest", "gradient_boosting", "knn"]
# Lightning's advice to load with worker processes, and its call of a name that torch 2.13 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec|`srun` command is available).*")


@pytest.fixture(scope="module")
def data():
    return irises(None)


@pytest.fixture(scope="module")
def images():
    """Bytes: the third of the rows that is bright tells the class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 120, (90, 1, 9, 9), generator=generator, dtype=torch.uint8)
    y = torch.arange(90) % 3
    for place in range(90):
        x[place, :, 3 * y[place] : 3 * y[place] + 3] += 100
    parts = {"x_train": x[:60], "y_train": y[:60].float(), "x_test": x[60:], "y_test": y[60:].float()}
    return Dataset(name="thirds", **parts, space=PixelSpace((1, 9, 9)), classes=("top", "middle", "bottom"))


def population(data, seeds, *, model=MLP, lr=0.01, **more):
    members = [build_for(data, model, seed=seed) for seed in seeds]
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    classes, weight = len(data.classes), data.weight
    return Population(
        members, splits=splits, seeds=seeds, lr=lr, batch_size=64, classes=classes, row_weight=weight, **more
    )


def member(trained, index, data):
    model = build_for(data, MLP, seed=0)
    model.load_state_dict({n: w.detach()[index] for n, w in zip(trained.names, trained.weights, strict=True)})
    return model


@pytest.mark.parametrize("weighted", [False, True])
def test_a_member_equals_the_model_that_torch_trains_alone(weighted):
    data, seeds, epochs = irises(None, weighted=weighted), [5, 6, 7], 30
    together = population(data, seeds)
    fit(together, epochs=epochs, accelerator="cpu")
    weight = data.weight if weighted else torch.ones(len(data.y_train))
    for index, seed in enumerate(seeds):
        alone = build_for(data, MLP, seed=seed)
        adam = torch.optim.Adam(alone.parameters(), lr=0.01, fused=True)
        for epoch in range(epochs):
            order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(len(data.x_train)))
            for rows in order.split(64):
                adam.zero_grad()
                y = data.y_train[rows].long()
                losses = nn.functional.cross_entropy(alone(data.x_train[rows]), y, reduction="none")
                (weight[rows] @ losses / weight[rows].sum()).backward()
                adam.step()
        with torch.no_grad():
            difference = (member(together, index, data)(data.x_test) - alone(data.x_test)).abs().max()
        assert difference <= 1e-4
    assert (member(together, 0, data)(data.x_test) - member(together, 1, data)(data.x_test)).abs().max() > 0.01


def test_the_curve_is_what_scikit_learn_computes(data):
    together = population(data, [0, 1])
    fit(together, epochs=40, accelerator="cpu")
    curve = together.state()["curve"]
    for index in range(2):
        answers = logits(member(together, index, data), data.x_test)
        shares = answers.double().softmax(-1).numpy()
        _, loss, accuracy, auroc = curve[index, -1].tolist()
        assert loss == pytest.approx(log_loss(data.y_test, shares), abs=1e-5)
        assert accuracy == pytest.approx(float((predicted(answers) == data.y_test).float().mean()), abs=1e-6)
        assert auroc == pytest.approx(roc_auc_score(data.y_test, shares, multi_class="ovr"), abs=1e-5)
    assert curve[:, -1, 2].min() > 0.8
    assert curve[:, 0, 0].mean() > 2 * curve[:, -1, 0].mean()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_four_epochs_and_then_six_are_ten(seeds, weighted):
    data = irises(None, weighted=weighted)
    whole, first = population(data, seeds), population(data, seeds)
    fit(whole, epochs=10, accelerator="cpu")
    fit(first, epochs=4, accelerator="cpu")
    then = population(data, seeds, epoch=4, state=first.state())
    fit(then, epochs=6, accelerator="cpu")
    expected, got = whole.state(), then.state()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


class WeightedBatchesOf(BatchesOf):
    """The batches of a population's member, the weights of rows among them."""

    def __iter__(self):
        data, epoch = self.data, self.epoch
        batches = EpochBatches(
            data.x_train, data.y_train, seeds=[self.seed], epoch=epoch, batch_size=64, weight=data.weight
        )
        self.epoch += 1
        for parts in batches:
            yield tuple(part[0] for part in parts)


@pytest.mark.parametrize("case", ["mlp", "mlp weighted", "cnn"])
def test_a_population_of_one_is_a_classifier_that_gets_the_same_batches(case, images, tmp_path):
    data = images if case == "cnn" else irises(None, weighted="weighted" in case)
    model = {"_target_": case.split()[0], "layers": 2, "width": 16}
    together = population(data, [7], model=model)
    fit(together, epochs=3, accelerator="cpu")
    alone = Classifier(build_for(data, model, seed=7), lr=0.01, classes=3)
    with_batches = trainer(tmp_path, max_epochs=3, enable_checkpointing=False)
    with_batches.fit(alone, WeightedBatchesOf(data, 7), data.loaders()[1])
    got = dict(zip(together.names, together.weights, strict=True))
    for parameter, weight in alone.net.named_parameters():
        assert torch.equal(got[parameter][0], weight)
    logged = [with_batches.callback_metrics[key] for key in ("train_loss", "val_loss", "val_accuracy", "val_auroc")]
    torch.testing.assert_close(together.curve[-1][0], torch.stack(logged), rtol=1e-5, atol=1e-6)


def test_a_checkpoint_remembers_how_many_classes_there_are(data, tmp_path):
    net = cft.train(data, layers=1, width=4, epochs=1)[0]
    classifier = Classifier(net.requires_grad_(True).train(), classes=3)
    alone = trainer(tmp_path, max_epochs=1, enable_checkpointing=False)
    alone.fit(classifier, *data.loaders())
    alone.save_checkpoint(tmp_path / "last.ckpt")
    loaded = Classifier.load_from_checkpoint(
        tmp_path / "last.ckpt", net=build_for(data, {**MLP, "layers": 1, "width": 4}, seed=9)
    )
    assert torch.equal(loaded(data.x_test), classifier(data.x_test))
    assert loaded(data.x_test).shape == (90, 3)


@pytest.mark.parametrize(
    ("net", "classes", "shape"),
    [(nn.Linear(4, 3), 2, "(90, 3)"), (nn.Linear(4, 2), 3, "(90, 2)"), (nn.Linear(4, 1), 3, "(90, 1)")],
)
def test_a_network_of_other_classes_is_refused_in_one_line(net, classes, shape, data):
    with pytest.raises(InputError) as caught:
        Classifier(net, classes=classes)(data.x_test)
    assert str(caught.value).startswith(f"net: gives logits of shape {shape} for 90 rows and {classes} classes; ")
    assert "\n" not in str(caught.value)


def test_weights_of_one_change_nothing_but_rounding_and_others_do(moons):
    def after(data):
        (model,) = cft.train(data, layers=1, width=8, epochs=8, lr=0.01)
        return model(moons.x_test)

    plain = after(moons)
    assert torch.equal(after(replace(moons, weight=None)), plain)
    torch.testing.assert_close(
        after(replace(moons, weight=torch.ones(len(moons.y_train)))), plain, atol=1e-4, rtol=1e-4
    )
    heavy = after(replace(moons, weight=1 + 9 * moons.y_train))
    assert (heavy > 0).sum() > (plain > 0).sum() + 5  # class 1 counts ten times


def test_loaders_bring_the_weights_of_their_rows(moons):
    data = replace(moons, weight=moons.x_train[:, 0] + 1)
    train, test = data.loaders(batch_size=64, seed=3)
    for x, _, weight in train:
        assert torch.equal(weight, x[:, 0] + 1)
    assert all(len(batch) == 2 for batch in test)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18"])
def test_a_network_of_one_output_is_the_same_whether_or_not_that_is_said(name):
    shape = (2,) if name == "mlp" else (3, 16, 16)
    settings, rows = {"_target_": name}, torch.rand(2, *shape)
    one, said = (build(settings, input_shape=shape, seed=3, complete=False, **more) for more in ({}, {"outputs": 1}))
    three = build(settings, input_shape=shape, seed=3, outputs=3, complete=False)
    assert torch.equal(one(rows), said(rows))
    assert one(rows).shape == (2,)
    assert three(rows).shape == (2, 3)


def small(name, data, *, seed=0):
    settings = {"n_estimators": 20} if name in ("random_forest", "gradient_boosting") else {}
    settings |= {"min_samples_leaf": 3} if name == "decision_tree" else {}
    settings |= {"n_neighbors": 4} if name == "knn" else {}
    return build_for(data, {"_target_": name, **settings}, seed=seed, complete=False)


@pytest.mark.parametrize("name", SKLEARN)
def test_scikit_learns_models_predict_what_their_estimators_do(name, data):
    model = small(name, data).fit(data)
    grid = torch.rand(3000, 4, generator=torch.Generator().manual_seed(0))
    answers = logits(model, grid)
    assert answers.shape == (3000, 3)
    assert (predicted(answers).numpy() == model.estimator.predict(grid.double().numpy())).all()
    shares = model.estimator.predict_proba(grid.double().numpy())
    assert answers.softmax(-1).numpy() == pytest.approx(shares, abs=1e-5)
    assert logits(model, grid[:0]).numel() == model(grid[:0]).numel() == 0
    assert model(grid[:0]).shape == (0, 3)
    train_loss, test_loss, accuracy, auroc = curve_row(model, data)[0].tolist()
    own = model.estimator.predict_proba(data.x_test.double().numpy())
    assert test_loss == pytest.approx(
        log_loss(data.y_test, own.clip(1e-6, 1) / own.clip(1e-6, 1).sum(1, keepdims=True)), abs=1e-4
    )
    assert accuracy == pytest.approx(model.estimator.score(data.x_test.double().numpy(), data.y_test), abs=1e-6)
    assert auroc == pytest.approx(roc_auc_score(data.y_test, own, multi_class="ovr"), abs=1e-6)
    assert train_loss >= 0


def test_multinomial_logistic_regression_has_the_gradient_of_its_logits(data):
    model = small("logistic_regression", data).fit(data)
    x = data.x_test[:5].clone().requires_grad_(True)
    answers = model(x)
    (gradient,) = torch.autograd.grad((answers[:, 2] - answers[:, 0]).sum(), x)
    coefficients = torch.from_numpy(model.estimator.coef_[2] - model.estimator.coef_[0]).float()
    torch.testing.assert_close(gradient, coefficients.expand(5, 4), rtol=1e-5, atol=1e-5)
    found = cft.search(model, data.x_test, space=data.space, method="minimal")
    assert found.found.all()


def test_weights_reach_scikit_learn(data):
    weighted = irises(None, weighted=True)
    model = small("logistic_regression", weighted).fit(weighted)
    own = LogisticRegression(max_iter=1000).fit(
        data.x_train.double().numpy(), data.y_train.long().numpy(), sample_weight=weighted.weight.numpy()
    )
    assert model.estimator.coef_ == pytest.approx(own.coef_, abs=1e-9)
    assert abs(own.coef_ - small("logistic_regression", data).fit(data).estimator.coef_).max() > 0.01
    with pytest.raises(InputError, match="KNeighborsClassifier: takes no weights of rows, which dataset irises has"):
        small("knn", weighted).check(weighted)


TRAINING = {"epochs": 1, "lr": 0.01, "batch_size": 8}


def test_a_model_of_two_classes_is_refused_for_three(data, own_models):
    for name in ("svm", "test_classes_and_weights__unaware"):
        with pytest.raises(InputError) as caught:
            check_training({"model": {"_target_": name}, "training": TRAINING}, data, complete=False)
        said = f"model={name}: is for two classes, but the data have 3; dataset.positive makes two of them"
        assert str(caught.value).startswith(said)


def test_a_model_that_ignores_outputs_is_refused(data, own_models):
    settings = {"_target_": "test_classes_and_weights__careless"}
    with pytest.raises(InputError, match=r"gives logits of shape \(2, 5\), not \(2, 3\)"):
        check_training({"model": settings, "training": TRAINING}, data)


def unaware(*, input_shape):
    return nn.Sequential(nn.Linear(*input_shape, 1), nn.Flatten(0))


def careless(*, input_shape, outputs):
    return nn.Linear(*input_shape, 5)


@pytest.fixture
def own_models(own_methods):
    """Let a test name functions of this file; configs may name those of the package alone."""


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_without_a_class_is_refused(split, data):
    kept = getattr(data, f"y_{split}") != 1
    parts = {name: getattr(data, name)[kept] for name in (f"x_{split}", f"y_{split}")}
    with pytest.raises(InputError, match=f"the {split}(ing)? split has no row of class versicolor"):
        cft.train(replace(data, **parts), epochs=1)


def test_three_classes_of_images(images):
    model, other = cft.train(images, model="cnn", layers=2, width=8, epochs=25, lr=0.01, seeds=[0, 1], batch_size=16)
    assert isinstance(cnn(input_shape=(1, 9, 9), outputs=3), nn.Module)
    assert (predicted(logits(model, images.x_test)) == images.y_test).float().mean() > 0.9
    found = cft.search(model, images.x_test, space=images.space)
    assert found.found.any()
    assert set(cft.measure(cft.ask(found, other)).by_target.target) <= {0, 1, 2}


@pytest.mark.parametrize("weight", [torch.ones(3), torch.zeros(60), torch.full((60,), torch.nan)])
def test_weights_that_are_no_numbers_or_nothing_at_all_are_refused(weight, data):
    with pytest.raises(InputError, match="takes 60 finite numbers ≥ 0, one per training row"):
        cft.train(replace(data, weight=weight), epochs=1)
