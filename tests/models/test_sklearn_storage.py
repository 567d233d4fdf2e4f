"""A model function of one's own may give any scikit-learn classifier: it is stored, read again, and nothing else is."""

import json
import pickle
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from conftest import ROOT, environment
from skops import io

import cftransfer.models
from cftransfer import store as artifacts
from cftransfer import targets
from cftransfer.errors import InputError
from cftransfer.models.sklearn_models import SklearnModel
from cftransfer.models.sklearn_storage import TRUSTED, packed, unpacked
from cftransfer.spec import with_hashes
from cftransfer.store import trained

HEAD = """
import numpy as np
import torch
from sklearn import (calibration, discriminant_analysis, ensemble, feature_selection, gaussian_process, impute,
    linear_model, model_selection, naive_bayes, neighbors, neural_network, pipeline, preprocessing, svm, tree)
from cftransfer.models.sklearn_models import SklearnModel

def answer(estimator, rows):
    x = rows.detach().numpy()
    if hasattr(estimator, "decision_function"):
        return torch.from_numpy(estimator.decision_function(x))
    share = estimator.predict_proba(x).clip(1e-6, 1 - 1e-6)
    return torch.from_numpy(np.log(share[:, 1] / share[:, 0]))

class Shift(preprocessing.FunctionTransformer):
    "A type of the user's own, of which an estimator is made."

def composite(*, depth=3, input_shape):
    seed = int(torch.randint(2**31, ()))
    small = tree.DecisionTreeClassifier(max_depth=depth, random_state=0)
    line = linear_model.LogisticRegression()
    return SklearnModel({estimator}, input_shape, answer{more})
"""
COMPOSITES = {
    "bagging": "ensemble.BaggingClassifier(small, 5, random_state=seed)",
    "pipeline": "pipeline.make_pipeline(preprocessing.StandardScaler(), small)",
    "imputing": "pipeline.make_pipeline(impute.SimpleImputer(missing_values=np.nan), small)",
    "selecting": "pipeline.make_pipeline(feature_selection.SelectKBest(feature_selection.f_classif, k=1), small)",
    "transforming": "pipeline.make_pipeline(preprocessing.FunctionTransformer(np.log1p), small)",
    "own type": "pipeline.make_pipeline(Shift(), small)",
    "sigmoid": "calibration.CalibratedClassifierCV(small, cv=model_selection.KFold(3))",
    "isotonic": "calibration.CalibratedClassifierCV(naive_bayes.GaussianNB(), method='isotonic')",
    "voting": "ensemble.VotingClassifier([('a', line), ('b', small)], voting='soft')",
    "stacking": "ensemble.StackingClassifier([('a', line), ('b', small)])",
    "adam": "neural_network.MLPClassifier((8,), learning_rate_init=.1, max_iter=300, tol=.003, random_state=0)",
    "sgd": "neural_network.MLPClassifier((8,), solver='sgd', learning_rate_init=.1, max_iter=900, random_state=0)",
    "histograms": "ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=seed)",
    "adaboost": "ensemble.AdaBoostClassifier(small, n_estimators=5, random_state=seed)",
    "extra trees": "ensemble.ExtraTreesClassifier(5, random_state=seed)",
    "nested": "pipeline.make_pipeline(ensemble.BaggingClassifier(pipeline.make_pipeline(small), 2, random_state=seed))",
    "ball tree": "neighbors.KNeighborsClassifier(5, algorithm='ball_tree')",
    "other distance": "neighbors.KNeighborsClassifier(5, algorithm='kd_tree', metric='manhattan')",
    "discriminant": "discriminant_analysis.QuadraticDiscriminantAnalysis()",
}
READ = """
import json, sys
import torch
import cftransfer.models
from cftransfer.data.moons import moons
from cftransfer.store import trained
home, spec, place = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
cftransfer.models.__path__.append(home)
data = moons(None, rows=400, noise=.2, test_share=.25, split_seed=0)
trained._fit = None  # nothing is fitted here
(model,) = trained.trained(spec, [3], dataset=data, store=__import__("pathlib").Path(place))
torch.save(model(data.x_test), sys.argv[4])
"""


@pytest.fixture
def place(tmp_path):
    return artifacts.prepare(tmp_path / "store")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a model's file into a clone, and starts as a new process would."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(cftransfer.models, "__path__", [*cftransfer.models.__path__, str(home)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(estimator, more="", below=""):
        (home / "composite.py").write_text(HEAD.replace("{estimator}", estimator).replace("{more}", more) + below)
        forget()

    yield written
    forget()


def forget():
    targets._function.cache_clear()
    targets._source.cache_clear()
    sys.modules.pop("cftransfer.models.composite", None)


def spec_of(data, **settings):
    model = {"_target_": "composite", "depth": 3, **settings}
    training = {"epochs": 1, "lr": 0.01, "batch_size": 64}
    return with_hashes({"dataset": {"_target_": "moons"}, "model": model, "training": training}, data.model_version)


def train(data, place, **settings):
    (model,) = trained.trained(spec_of(data, **settings), [3], dataset=data, store=place)
    return model


def built(data, **settings):
    return targets.call_target("model", spec_of(data, **settings)["model"], input_shape=data.input_shape)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_a_composite_is_stored_and_answers_the_same_to_the_bit(composite, write, moons, place, monkeypatch):
    write(COMPOSITES[composite])
    first = train(moons, place)
    monkeypatch.setattr(trained, "_fit", None)  # nothing is fitted from here on
    forget()  # as in the next process: types of the user's own are then other objects
    again = train(moons, place)
    assert again is not first
    assert torch.equal(again(moons.x_test), first(moons.x_test))
    assert ((again(moons.x_test) > 0) == moons.y_test).float().mean() > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("composite", ["bagging", "pipeline", "sigmoid", "stacking", "adam", "histograms", "own type"])
def test_another_process_reads_what_this_one_stored(composite, write, moons, place, tmp_path):
    write(COMPOSITES[composite])
    here = train(moons, place)(moons.x_test)
    asked = [str(tmp_path / "home"), json.dumps(spec_of(moons)), str(place), str(tmp_path / "logits.pt")]
    done = subprocess.run(
        [sys.executable, "-c", READ, *asked], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "logits.pt", weights_only=True), here)


@pytest.mark.parametrize("composite", ["bagging", "pipeline", "sigmoid", "voting", "stacking", "nested"])
def test_a_file_of_other_nested_parameters_is_refused_in_one_line(composite, write, moons, tmp_path):
    write(COMPOSITES[composite])
    model, other = built(moons, depth=3), built(moons, depth=2)
    torch.manual_seed(0)
    content = packed(other.fit(moons), again=other, name="composite")
    assert unpacked(other, content, path=tmp_path).estimator.get_params().keys() == model.estimator.get_params().keys()
    with pytest.raises(
        InputError, match=r"was not written by cftransfer \(.*max_depth=2.* for .*max_depth=3"
    ) as caught:
        unpacked(model, content, path=tmp_path / "x.safetensors")
    assert str(caught.value).startswith(f"{tmp_path}/x.safetensors: ")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_estimator_inside_is_refused(write, moons, tmp_path):
    write("pipeline.make_pipeline(preprocessing.StandardScaler(), small)")
    scaled = built(moons)
    content = packed(scaled.fit(moons), again=scaled, name="composite")
    write("pipeline.make_pipeline(preprocessing.MinMaxScaler(), small)")
    with pytest.raises(InputError, match=r"minmaxscaler=nothing for MinMaxScaler\(\)"):
        unpacked(built(moons), content, path=tmp_path)


class Planted:
    """A type that no model's function has put into its estimator; it leaves a trace when it is made."""

    def __setstate__(self, state):
        raise AssertionError("a stranger's code ran")


@pytest.mark.parametrize(
    "inside", [partial(print, "ran"), Planted(), pickle.loads, np.savetxt], ids=["partial", "object", "pickle", "numpy"]
)
def test_no_type_or_function_that_the_file_brings_is_trusted(inside, write, moons, tmp_path, capsys):
    write("pipeline.make_pipeline(Shift(), small)")
    model = built(moons)
    forged = model.fit(moons).estimator
    forged.steps[0][1].planted_ = inside
    content = torch.frombuffer(bytearray(io.dumps(forged)), dtype=torch.uint8)
    with pytest.raises(InputError, match="was not written by cftransfer"):
        unpacked(model, content, path=tmp_path)
    assert capsys.readouterr().out == ""


def test_types_that_a_function_names_are_trusted_for_its_models_alone(write, moons, place):
    kernels = "gaussian_process.kernels"
    process = f"gaussian_process.GaussianProcessClassifier({kernels}.ConstantKernel() * {kernels}.RBF())"
    write(process)
    kind = "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace"
    with pytest.raises(InputError, match=rf"^model=composite: the fitted estimator cannot be stored .*{kind}"):
        train(moons, place)
    write(process, f", trusted=({kind!r},)")
    assert torch.equal(train(moons, place)(moons.x_test), train(moons, place)(moons.x_test))


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        ("pipeline.make_pipeline(preprocessing.FunctionTransformer(lambda x: x), small)", ""),
        ("ensemble.BaggingClassifier(small, random_state=np.random.RandomState(0))", "random_state="),
        ("ensemble.BaggingClassifier(small, random_state=next(DRAWS))", r"random_state=\d for \d"),
    ],
    ids=["code", "state that is used up", "another seed each time"],
)
def test_what_could_not_be_read_again_is_refused_before_it_is_written(estimator, reason, write, moons, place):
    """Otherwise the next job would say: delete this file and run again; and so for ever."""
    write(estimator, below="\nDRAWS = iter(range(9))\n")
    with pytest.raises(
        InputError, match=rf"^model=composite: the fitted estimator cannot be stored \(.*{reason}"
    ) as it:
        train(moons, place)
    assert "\n" not in str(it.value)
    assert not list(place.rglob("*.safetensors"))


def test_a_damaged_or_foreign_file_that_is_deleted_as_the_line_says_is_made_again(write, moons, place):
    write(COMPOSITES["voting"])
    first = train(moons, place)(moons.x_test)
    file = trained.model_file(spec_of(moons), 3, store=place)
    tensors, about = artifacts.load(place, "models", file.stem)
    foreign = torch.frombuffer(bytearray(io.dumps({"not": "it"})), dtype=torch.uint8)
    artifacts.save(place, "models", file.stem, {**tensors, "skops": foreign}, about)
    with pytest.raises(InputError, match="dict for VotingClassifier") as caught:
        train(moons, place)
    (named,) = re.findall(r"^(\S+\.safetensors): ", str(caught.value))
    file.__class__(named).unlink()
    assert torch.equal(train(moons, place)(moons.x_test), first)


def test_only_types_of_scikit_learn_and_numpy_are_trusted_and_no_more_than_are_needed(write, moons):
    needed = set()
    shipped = [
        {"_target_": name}
        for name in ("logistic_regression", "decision_tree", "random_forest", "gradient_boosting", "svm", "knn")
    ]
    models = [targets.call_target("model", it, input_shape=moons.input_shape, complete=False) for it in shipped]
    for estimator in COMPOSITES.values():
        write(estimator)
        models.append(built(moons))
    for model in models:
        assert isinstance(model, SklearnModel)
        written = io.get_untrusted_types(data=io.dumps(model.fit(moons).estimator))
        needed |= {*written} - {*io.get_untrusted_types(data=io.dumps(model.estimator))}
    assert needed == set(TRUSTED)
    assert all(kind.startswith(("sklearn.", "numpy.")) for kind in TRUSTED)
