"""A model function of one's own may say that its answer has a gradient; then searches along gradients run on it."""

import sys

import pytest
import torch
from conftest import composed

import cftransfer.models
from cftransfer import targets
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan
from cftransfer.errors import InputError
from cftransfer.models.build import build

HEAD = """
import torch
from sklearn.linear_model import LogisticRegression
from cftransfer.models.sklearn_models import SklearnModel

def smooth(estimator, rows):
    return rows @ torch.from_numpy(estimator.coef_[0]) + float(estimator.intercept_[0])

def array(estimator, rows):
    return torch.from_numpy(estimator.decision_function(rows.detach().numpy()))

def undetached(estimator, rows):
    return torch.from_numpy(estimator.decision_function(rows.numpy()))

def own_line(*, C=1.0, input_shape):
    return SklearnModel(LogisticRegression(C=C), input_shape, {answer}, differentiable={differentiable})
"""
PLACE = ["dataset=moons", "dataset.rows=400", "replicates.bases=2", "replicates.references=2", "samples=30"]
OWN = ["model=logistic_regression", "model._target_=own_line", "training.epochs=1"]


@pytest.fixture
def write(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(cftransfer.models, "__path__", [*cftransfer.models.__path__, str(home)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(answer, *, differentiable):
        text = HEAD.replace("{answer}", answer).replace("{differentiable}", str(differentiable))
        (home / "own_line.py").write_text(text)
        forget()

    yield written
    forget()


def forget():
    targets._function.cache_clear()
    targets._source.cache_clear()
    sys.modules.pop("cftransfer.models.own_line", None)


def run(tmp_path, *words):
    made = plan(composed(*PLACE, *words, f"paths.store={tmp_path / 'store'}"))
    return experiment.run(made)


def test_a_job_follows_the_gradient_of_a_logistic_regression_that_a_user_wrote(write, tmp_path):
    """To the bit as far as on the shipped one, which answers with the same formula."""
    write("smooth", differentiable=True)
    experiment_of = ["experiment=technique", "model@reference.model=svm", "counterfactual=gradient"]
    own = run(tmp_path, *OWN, *experiment_of)
    assert own.metrics["found"] > 0.9
    shipped = run(tmp_path, "model=logistic_regression", *experiment_of)
    assert own.metrics["rate"] == shipped.metrics["rate"]
    mine, theirs = (it.tables["counterfactuals"].drop(columns="id", errors="ignore") for it in (own, shipped))
    assert mine.equals(theirs)


@pytest.mark.parametrize("answer", ["smooth", "array"])
def test_without_the_word_a_gradient_search_is_refused_before_anything_is_fitted(answer, write, tmp_path):
    write(answer, differentiable=False)
    words = [*OWN, "experiment=technique", "model@reference.model=svm"]
    with pytest.raises(InputError, match="follows gradients, and the base's model has none") as caught:
        run(tmp_path, *words, "counterfactual=gradient")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert run(tmp_path, *words, "counterfactual=growing_spheres").metrics["found"] > 0.9


@pytest.mark.parametrize("answer", ["array", "undetached"])
def test_an_answer_of_numpy_that_claims_a_gradient_is_refused_in_one_line(answer, write, tmp_path, moons):
    write(answer, differentiable=True)
    said = r"^model: is differentiable=True, but has no gradient \(.+\); answer with torch alone, or leave"
    with pytest.raises(InputError, match=said) as caught:
        run(tmp_path, *OWN, "experiment=technique", "model@reference.model=svm", "counterfactual=gradient")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))
    with pytest.raises(InputError, match=said):
        build({"_target_": "own_line", "C": 1.0}, input_shape=moons.input_shape, seed=0).fit(moons)
    assert torch.is_grad_enabled()
