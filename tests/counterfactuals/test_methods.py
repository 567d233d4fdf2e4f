"""Every option of conf/counterfactual, through the engine: invariants of all of them, in any space and model."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, composed, is_own, target_of
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from cftransfer import search
from cftransfer.data.dataset import from_table
from cftransfer.data.feature import Feature
from cftransfer.data.images import from_images
from cftransfer.data.pixels import nearest_greys, unit
from cftransfer.errors import InputError
from cftransfer.measuring.rates import share_as_bytes
from cftransfer.models.build import build
from cftransfer.models.prediction import lead, logits, margin, predicted, targets
from cftransfer.searching.constraint import constraint
from cftransfer.settings import CHOICES
from cftransfer.store.searched import check_search, run_search

EXEMPT = ("imported",)  # claims all that a file has, right or wrong; test_imported.py has its invariants
OPTIONS = sorted(path.stem for path in (ROOT / "conf" / "counterfactual").glob("*.yaml") if path.stem not in EXEMPT)
METHODS = [name for name in OPTIONS if target_of("counterfactual", name) == name]
WITHOUT_GRADIENTS = ("betarce", "growing_spheres", "nearest", "robx")
SPACES = range(5)
# Every method on binary models in all spaces; its other strengths, and models of three classes, in two of them.
ON_CLASSES = [*((name, 2) for name in OPTIONS), *((name, 3) for name in METHODS)]

# The same code, sooner: draws and steps that a test can wait for, and passes in which kernels do not round differently.
CHEAP = {
    "probe": {"iterations": 60, "batch_size": 16},
    "roar": {"iterations": 60, "batch_size": 16},
    "ellice": {"loss_share": 1e-4, "iterations": 60, "batch_size": 16},
    "betarce": {"draws": 10, "iterations": 300, "batch_size": 16, "models": 28, "start": "nearest"},
    "robx": {"draws": 15, "sigma": 0.03, "iterations": 150, "batch_size": 16},
    "trex": {"draws": 15, "iterations": 75, "batch_size": 16, "sigma": 0.03},
    "sns": {"points": 5, "steps": 10, "iterations": 100, "batch_size": 16},
    "growing_spheres": {"draws": 20, "iterations": 300, "batch_size": 16},
    "nearest": {"iterations": 10},
    "minimal": {"iterations": 150, "batch_size": 16},
    "wachter": {"iterations": 150, "batch_size": 16, "patience": 15},
}


@cache
def _composed(name):
    return OmegaConf.to_container(composed(f"counterfactual={name}").counterfactual, resolve=True)


def settings_of(name, **changes):
    """The settings of an option, with changes."""
    return {**_composed(name), **changes}


def method_of(name):
    return target_of("counterfactual", name)


@cache
def cheap(name):
    settings, sooner = settings_of(name), CHEAP.get(method_of(name), {"iterations": 150, "batch_size": 16})
    return settings | {key: value for key, value in sooner.items() if key in settings or not own(name)}


def own(name):
    """Whether the option is of a method of the clone's own: it may lack the settings that all shipped methods share."""
    return is_own("counterfactual", name)


def within(result, settings, name):
    """Whether a search kept to its cap; methods of one's own may have none."""
    if own(name) and "iterations" not in settings:
        return True
    return (result.iterations <= settings["iterations"]).all()


def confidence_of(settings, name):
    return settings.get("confidence", 0.5) if own(name) else settings["confidence"]


def repeated(models):
    """The `models` of a method that needs models of its own."""
    return lambda many: (list(models) * many)[:many]


def features_of(generator):
    """Some features of every kind; a person cannot change some of them, or only in one direction."""
    made = []
    kinds = ("continuous", "integer", "log1p", "binary", "ordinal", "categorical")
    for index, kind in enumerate([*kinds, *generator.choice(kinds, 2)]):
        about = {"mutable": bool(generator.random() < 0.75)}
        if kind != "categorical":
            about["direction"] = str(generator.choice(["any", "any", "up", "down"]))
        if kind in ("binary", "ordinal", "categorical"):
            many = 2 if kind == "binary" else int(generator.integers(3, 6))
            about |= {"kind": kind, "categories": tuple("abcdef"[:many])}
        elif kind == "continuous":
            about["kind"] = kind
        else:
            about |= {"kind": "integer", "scale": "log1p" if kind == "log1p" else "linear"}
        made.append(Feature(name=f"f{index}", **about))
    return made


def network(data, seed, classes):
    """A random network of that many classes, two hidden layers of 16."""
    if classes == 2:
        mlp = {"_target_": "mlp", "layers": 2, "width": 16}
        return build(mlp, input_shape=data.input_shape, seed=seed)
    torch.manual_seed(seed)
    (inputs,) = data.input_shape
    hidden = [nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(16, classes))


@cache
def world(seed, classes=2):
    """A data set in a random feature space, a random network on it, and two that resemble this network."""
    generator = np.random.default_rng(seed)
    features, columns = features_of(generator), {}
    for feature in features:
        if feature.categories:
            columns[feature.name] = generator.choice(feature.categories, 200)
        elif feature.kind == "continuous":
            columns[feature.name] = generator.normal(3, 10, 200)
        else:
            columns[feature.name] = generator.integers(0, generator.integers(3, 60), 200)
    data = from_table(
        f"space {seed}",
        pd.DataFrame(columns),
        generator.integers(0, 2, 200),
        features=features,
        classes=("no", "yes"),
        test_share=0.2,
        split_seed=seed,
    )
    data = replace(data, y_train=torch.from_numpy(generator.integers(0, classes, len(data.y_train))).float())
    models = [network(data, seed, classes) for _ in range(3)]
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for index, model in enumerate(models):
            for name, weight in model.named_parameters():
                weight.mul_(6 if "weight" in name else 1)
                weight.add_(0.02 * index * torch.randn(weight.shape, generator=noise))
            last = [module for module in model.modules() if hasattr(module, "bias")][-1]
            last.bias.sub_(model(data.x_train).median(0).values)  # so that all classes are predicted
            model.requires_grad_(False).eval()
    return data, models


def _changed(space, x, factual):
    """(columns,) by column: the feature it belongs to, and by how much it moved."""
    parts = np.repeat(np.arange(len(space.features)), [feature.columns for feature in space.features])
    for index, feature in enumerate(space.features):
        yield feature, (x - factual)[:, parts == index]


def possible(space, x):
    """(n,) bool, said by nothing but the encoding: reading the row as a person would, and writing it down again."""
    again = torch.from_numpy(space.encode(space.decode(x.numpy())))
    any_value = torch.tensor([f.kind == "continuous" for f in space.features for _ in range(f.columns)])
    return ((again == x) | any_value).all(1) & ((x >= 0) & (x <= 1)).all(1)


@pytest.mark.parametrize("constraints", CHOICES["counterfactual.constraints"])
@pytest.mark.parametrize(("name", "classes"), ON_CLASSES)
def test_what_is_found_is_a_counterfactual(name, classes, constraints):
    many = 0
    settings = {**cheap(name), "constraints": constraints}
    for seed in SPACES if classes == 2 and name in METHODS else SPACES[:2]:
        data, (model, *others) = world(seed, classes)
        x = data.x_test[:7]
        result = run_search(model, x, settings=settings, dataset=data, generating=repeated(others))
        found, reached, at = result.found, result.counterfactual[result.found], x[result.found]
        many += int(found.sum())
        assert torch.equal(result.target, targets(logits(model, x)))
        assert within(result, settings, name)
        assert (found <= result.claimed).all()
        assert torch.equal(found, result.claimed)  # the engine confirms every claim
        assert result.counterfactual.isfinite().all()
        assert (reached != at).any(1).all()
        assert constraint(constraints, data.space).holds(reached, at).all()
        for rows in (1, 3, 7, 64):
            fresh = logits(model, reached, batch_size=rows)
            assert torch.equal(predicted(fresh), result.target[found])
            confidence = confidence_of(settings, name)
            wanted = math.log(confidence / (1 - confidence))
            sure = lead if confidence == 0.5 else margin
            assert (sure(fresh, result.target[found]) > wanted).all()
        if constraints != "none":
            assert ((reached >= 0) & (reached <= 1)).all()
        if constraints in ("possible", "actionable"):
            assert possible(data.space, reached).all()
        if constraints == "actionable":
            for feature, change in _changed(data.space, reached, at):
                if not feature.mutable:
                    assert (change == 0).all()
                elif feature.direction != "any":
                    assert ((change >= 0) if feature.direction == "up" else (change <= 0)).all()
    assert many > 0, "nothing was found in any space, so nothing was tested"


@cache
def pictures(kind):
    """A data set of images of 3 × 8 × 8, bytes or floats between grey levels, and networks that resemble each other."""
    generator = np.random.default_rng(0)
    x = generator.integers(60, 200, (120, 3, 8, 8)).astype(np.uint8)
    x = x if kind == "bytes" else (x / 255 + generator.uniform(-0.001, 0.001, x.shape)).astype(np.float32)
    y = generator.integers(0, 2, 120)
    data = from_images("pictures", train=(x[:80], y[:80]), test=(x[80:], y[80:]), classes=("no", "yes"), about="")
    mlp = {"_target_": "mlp", "layers": 1, "width": 16}
    models = [build(mlp, input_shape=data.input_shape, seed=0) for _ in range(3)]
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for index, model in enumerate(models):
            for weight in model.parameters():
                weight.mul_(4).add_(0.01 * index * torch.randn(weight.shape, generator=noise))
            last = [module for module in model.modules() if hasattr(module, "bias")][-1]
            last.bias.sub_(model(unit(data.x_train)).median())
            model.requires_grad_(False).eval()
    return data, models


@pytest.mark.parametrize("kind", ["bytes", "between grey levels"])
@pytest.mark.parametrize("constraints", ["possible", "actionable"])
@pytest.mark.parametrize("name", METHODS)
def test_a_file_of_bytes_holds_every_possible_counterfactual_of_an_image(name, constraints, kind, tmp_path):
    data, (model, *others) = pictures(kind)
    x, settings = unit(data.x_test[:7]), {**cheap(name), "constraints": constraints}
    result = run_search(model, x, settings=settings, dataset=data, generating=repeated(others))
    assert result.found.any()
    assert torch.equal(result.found, result.claimed)
    assert within(result, settings, name)
    assert torch.equal(nearest_greys(result.counterfactual[result.found]), result.counterfactual[result.found])
    assert share_as_bytes([result], [model]) == 1
    for place, image in enumerate(data.space.decode(result.counterfactual)):
        Image.fromarray(image).save(tmp_path / f"{place}.png")
    files = [np.asarray(Image.open(tmp_path / f"{place}.png")).transpose(2, 0, 1) for place in range(len(x))]
    again = unit(torch.from_numpy(np.stack(files)))
    assert torch.equal(again[result.found], result.counterfactual[result.found])
    assert torch.equal(logits(model, again)[result.found], result.logit[result.found])
    if result.relaxed is not None:  # of methods with a relaxation, which knows no grey levels
        assert not torch.equal(
            result.relaxed[result.relaxed_found], nearest_greys(result.relaxed[result.relaxed_found])
        )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", METHODS)
def test_what_is_not_found_says_so(name, classes):
    data, (model, *others) = world(0, classes)
    target = targets(logits(model, data.x_test))
    if own(name) and "confidence" not in cheap(name):
        # Without that setting nothing forces a failure; only methods of one's own may lack it.
        pytest.skip(f"conf/counterfactual/{name}.yaml: has no confidence to raise until rows are not found")
    settings = {**cheap(name), "constraints": "actionable", "confidence": 0.999}
    result = run_search(model, data.x_test[:9], settings=settings, dataset=data, generating=repeated(others))
    short = margin(logits(model, result.counterfactual), target[:9]) < math.log(999)
    assert short.any(), "everything was found, so nothing was tested"
    assert not result.found[short].any()
    assert not result.claimed[short].any()


@pytest.mark.parametrize("name", METHODS)
def test_the_row_beside_it_does_not_matter_among_three_classes(name):
    data, (model, *others) = world(1, 3)
    settings, x = {**cheap(name), "constraints": "possible"}, data.x_test[:20]
    aims = (predicted(logits(model, x)) + 1) % 3

    def ask(rows):
        method, given = settings["_target_"], {k: v for k, v in settings.items() if k not in ("_target_",)}
        background = (data.x_train, data.y_train)
        asked = {"method": method, "target": aims[rows], "background": background, "generating": list(others) * 14}
        return search(model, x[rows], space=data.space, **asked, **given)

    every = ask(list(range(20)))
    assert every.found.any()
    assert torch.equal(predicted(every.logit[every.found]), aims[every.found])
    for rows in ([0], [17, 3, 19], list(range(19, -1, -1))):
        some = ask(rows)
        torch.testing.assert_close(some.counterfactual, every.counterfactual[rows], atol=1e-5, rtol=0)
        assert torch.equal(some.found, every.found[rows])


@pytest.mark.parametrize("name", METHODS)
def test_the_row_beside_it_does_not_matter(name, trained_models, compas):
    settings, x = cheap(name), compas.x_test[:40]
    if "batch_size" in settings:
        settings = {**settings, "batch_size": 16}

    def ask(rows):
        about = {"settings": settings, "dataset": compas, "generating": repeated(trained_models[1:])}
        return run_search(trained_models[0], x[rows], **about)

    every = ask(list(range(40)))
    assert every.found.any()
    for rows in ([0], [39], [17, 3, 38], list(range(39, -1, -1))):
        some = ask(rows)
        assert torch.equal(some.counterfactual, every.counterfactual[rows])
        assert torch.equal(some.found, every.found[rows])
        assert torch.equal(some.iterations, every.iterations[rows])


@pytest.mark.parametrize("constraints", CHOICES["counterfactual.constraints"])
@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_never_changes_its_mind(name, constraints):
    data, _ = world(1)
    settings = {**cheap(name), "constraints": constraints}
    if "iterations" in settings or not own(name):
        settings["iterations"] = max(60, settings["iterations"] // 3)

    def stubborn(bias):
        model = nn.Linear(*data.input_shape, 1)
        model.load_state_dict({"weight": torch.zeros_like(model.weight), "bias": torch.tensor([bias])})
        return model.requires_grad_(False)

    about = {"settings": settings, "dataset": data, "generating": repeated([stubborn(4.0)])}
    x = data.x_test[:5]
    result = run_search(stubborn(3.0), x, **about)
    assert not result.claimed.any()
    assert not result.found.any()
    assert result.counterfactual.isfinite().all()
    assert within(result, settings, name)


@pytest.mark.parametrize("name", METHODS)
def test_most_are_found_with_the_settings_it_comes_with(name, trained_models, compas):
    about = {"settings": settings_of(name), "dataset": compas, "generating": repeated(trained_models[1:])}
    assert about["settings"]["constraints"] == "possible"
    result = run_search(trained_models[0], compas.x_test[:60], **about)
    assert result.found.any(), f"counterfactual={name}: finds nothing with the settings it comes with"
    assert own(name) or result.found.float().mean() >= 0.95


@pytest.fixture(scope="module")
def tree(compas):
    settings = OmegaConf.to_container(composed("model=decision_tree").model, resolve=True)
    return build(settings, input_shape=compas.input_shape, seed=0).fit(compas)


def follows_gradients(settings, compas, tree):
    try:
        check_search(settings, compas, tree)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("name", METHODS)
def test_a_base_without_gradients(name, tree, compas):
    settings, x = settings_of(name), compas.x_test[:60]
    if own(name) and not follows_gradients(settings, compas, tree):
        run_search(tree, x, settings=settings, dataset=compas)
        return
    if name in WITHOUT_GRADIENTS:
        check_search(settings, compas, tree)
        result = run_search(tree, x, settings=settings, dataset=compas, generating=repeated([replace(tree)]))
        assert result.found.float().mean() >= 0.95
        return
    said = "follows gradients, and the base's model has none; counterfactual=nearest and counterfactual=growing_spheres"
    for refused in (
        lambda: check_search(settings, compas, tree),
        lambda: run_search(tree, x, settings=settings, dataset=compas),
    ):
        with pytest.raises(InputError, match=said) as raised:
            refused()
        assert "\n" not in str(raised.value)


CONFIDENCE = [("confidence", value) for value in (0.49, 1, 1.0, -1, math.nan, "sure", True, None)]
BATCH = [("batch_size", value) for value in (0, -1, 2.5, None)]
RATE = [("lr", value) for value in (0, -0.1, math.inf, math.nan, "fast", None)]
WALK = [("iterations", value) for value in (50, 0, 100.0, None)]
CAP = [("iterations", value) for value in (-1, 2.5, True)]
WEIGHT = [("distance_weight", value) for value in (-0.1, math.inf, math.nan, None)]
MODELS = [("models", value) for value in (0, 65, 2.5)]
AGREE = [("agree", value) for value in (0, -0.5, 1.01, math.nan, "most")]
SHARE = (0, 1, -0.1, math.nan, None)
IMPOSSIBLE = {
    "betarce": [
        *[("iterations", value) for value in (199, 0, 2000.0)],
        *[(name, value) for name in ("delta", "credibility") for value in SHARE],
        ("delta", 0.95),  # 32 models reach .913
        ("draws", 0),
        *[("radius", value) for value in (0, -1, math.inf)],
        *[("start", value) for value in ("gradient", None)],
        *MODELS,
        *CONFIDENCE,
        *BATCH,
    ],
    "ellice": [
        *[(name, value) for name in ("loss_share", "ridge") for value in (0, -1, math.inf)],
        *CAP,
        *RATE,
        *CONFIDENCE,
        *BATCH,
        *WEIGHT,
    ],
    "probe": [
        *[("invalidation", value) for value in (0, 0.51, math.nan)],
        *[("sigma", value) for value in (0, -1, math.inf)],
        *CAP,
        *RATE,
        *CONFIDENCE,
        *BATCH,
        *WEIGHT,
    ],
    "roar": [*[("delta", value) for value in (0, -1, math.inf)], *CAP, *RATE, *CONFIDENCE, *BATCH, *WEIGHT],
    "robx": [
        *[("iterations", value) for value in (28, 0, 1000.0)],  # one row to start from, and 28 points
        *[("stability", value) for value in SHARE],
        *[("sigma", value) for value in (0, -1, math.inf)],
        *[("draws", value) for value in (1, 2.5)],
        *[("rows", value) for value in (0, 2.5)],
        *[("start", value) for value in ("gradient", None)],
        *CONFIDENCE,
        *BATCH,
    ],
    "ensemble": [*CAP, *RATE, *CONFIDENCE, *BATCH, *WEIGHT, *MODELS, *AGREE],
    "gradient": [*CAP, *RATE, *CONFIDENCE, *BATCH, *WEIGHT, ("distance", "l3"), ("refine", "yes"), ("refine", False)],
    "growing_spheres": [
        *[("iterations", value) for value in (99, 0, -1, 1000.0)],  # no fewer than one round of draws
        *[("draws", value) for value in (0, 2.5)],
        *[("radius", value) for value in (0, -1, math.inf, math.nan)],
        *[("sparse", value) for value in ("yes", 1, None)],
        *CONFIDENCE,
        *BATCH,
    ],
    "minimal": [*WALK, *RATE, *CONFIDENCE, *BATCH],
    "nearest": [("distance", "mad"), ("distance", None), ("iterations", 0), ("iterations", 2.5), *CONFIDENCE],
    "sns": [
        *WALK,
        *RATE,
        *CONFIDENCE,
        *BATCH,
        *[("radius", value) for value in (0, -1, math.inf)],
        *[("points", value) for value in (0, 2.5)],
        *[("steps", value) for value in (-1, 2.5)],
    ],
    "trex": [
        *WALK,
        *RATE,
        *CONFIDENCE,
        *BATCH,
        *[("stability", value) for value in (0, 1, -0.1, math.nan)],
        *[("sigma", value) for value in (0, -1, math.inf)],
        *[("draws", value) for value in (1, 2.5)],
    ],
    "wachter": [
        *CAP,
        *RATE,
        *CONFIDENCE,
        *BATCH,
        *[("weight", value) for value in (0, -1, math.inf)],
        *[("factor", value) for value in (1, 0.5, math.inf)],
        *[("patience", value) for value in (0, 2.5)],
    ],
}


@pytest.mark.parametrize("name", METHODS)
def test_an_impossible_setting_is_named(name, trained_models, compas):
    cases = [*([] if own(name) else IMPOSSIBLE[name]), ("constraints", "any"), ("constraints", None)]
    assert own(name) or {setting for setting, _ in cases} | {"_target_"} == set(settings_of(name)), (
        "a setting without a case"
    )
    for setting, value in cases:
        with pytest.raises(InputError) as raised:
            check_search(settings_of(name, **{setting: value}), compas, trained_models[0])
        assert str(raised.value).startswith(f"counterfactual.{setting}={value}: must be "), (setting, value)


@pytest.mark.parametrize("name", METHODS)
def test_a_setting_too_many_or_too_few_is_named(name, trained_models, compas):
    settings = settings_of(name)
    with pytest.raises(InputError, match=r"counterfactual\.stepsize: no such key"):
        check_search({**settings, "stepsize": 1}, compas, trained_models[0])
    for missing in settings.keys() - {"_target_"}:
        with pytest.raises(InputError, match=rf"counterfactual\.{missing}: is missing"):
            check_search({key: value for key, value in settings.items() if key != missing}, compas, trained_models[0])


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_passes_the_check_before_anything_is_trained(name, trained_models, compas):
    check_search(settings_of(name), compas, trained_models[0])


def test_a_numbered_option_is_the_same_method_at_another_strength():
    for name in {name for name in set(OPTIONS) - set(METHODS) if not own(name)}:
        plain, numbered = settings_of(method_of(name)), settings_of(name)
        assert plain.keys() == numbered.keys()
        assert len([key for key in plain if plain[key] != numbered[key]]) == 1, name
        assert Path(ROOT / "conf" / "counterfactual" / f"{name}.yaml").read_text().count("\n") == 5


@pytest.mark.parametrize("name", METHODS)
def test_no_rows_are_no_trouble(name, trained_models, compas):
    about = {"settings": cheap(name), "dataset": compas, "generating": repeated(trained_models[1:])}
    result = run_search(trained_models[0], compas.x_test[:0], **about)
    assert result.counterfactual.shape == (0, *compas.input_shape)
    assert len(result.found) == len(result.iterations) == 0


@pytest.mark.parametrize("iterations", [100, 101, 150, 199, 250])
def test_growing_spheres_never_asks_more_than_its_cap(iterations, trained_models, compas):
    asked = []

    def counting(x):
        asked.append(len(x))
        return trained_models[0](x)

    settings = settings_of("growing_spheres", iterations=iterations, batch_size=1, sparse=False)
    result = run_search(counting, compas.x_test[:1], settings=settings, dataset=compas)
    assert (result.iterations <= iterations).all()
    assert sum(asked) <= iterations + 4  # the engine asks too: at x, at x′, where it was relaxed
