"""The margin: one number through which models of any number of classes are searched, judged and asked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy as torch_cross_entropy

from cftransfer.errors import InputError
from cftransfer.models.prediction import cross_entropy, lead, leads, margin, predicted, targets


@st.composite
def answers(draw):
    seed, rows, classes = draw(st.integers(0, 2**32)), draw(st.integers(1, 6)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(seed)
    logits = draw(st.sampled_from([0.1, 1.0, 30.0])) * torch.randn(rows, classes, generator=generator)
    return logits, torch.randint(classes, (rows,), generator=generator)


@given(answers())
def test_its_sigmoid_is_the_targets_probability_and_its_softplus_the_cross_entropy(given_):
    logits, target = given_
    share = logits.double().softmax(1).gather(1, target[:, None]).squeeze(1)
    torch.testing.assert_close(torch.sigmoid(margin(logits.double(), target)), share)
    expected = torch_cross_entropy(logits.double(), target, reduction="none")
    torch.testing.assert_close(cross_entropy(logits.double(), target), expected)


@given(answers())
def test_above_0_the_model_predicts_the_target(given_):
    logits, target = given_
    above = margin(logits, target) > 0
    assert (predicted(logits)[above] == target[above]).all()
    assert leads(logits, target)[above].all()
    assert (lead(logits, target) >= margin(logits, target)).all()
    assert torch.equal(leads(logits, target), predicted(logits) == target)  # ties have probability 0


@given(answers())
def test_two_logits_are_the_binary_case(given_):
    logits, target = given_[0][:, :2], given_[1] % 2
    one = logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(margin(logits, target), margin(one, target), atol=1e-4, rtol=1e-5)
    assert torch.equal(leads(one, target), margin(one, target) > 0)
    torch.testing.assert_close(cross_entropy(logits, target), cross_entropy(one, target), atol=1e-4, rtol=1e-5)
    assert torch.equal(targets(one), 1 - predicted(one))


@given(answers())
def test_the_second_choice_is_the_largest_but_one(given_):
    logits, _ = given_
    if logits.shape[1] == 2:
        return
    second = targets(logits)
    assert (second != predicted(logits)).all()
    without = logits.scatter(1, predicted(logits)[:, None], -torch.inf)
    assert torch.equal(second, without.argmax(1))


def test_a_tie_leads_nowhere():
    assert not leads(torch.zeros(1), torch.tensor([0])).any()
    assert not leads(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0])).any()


def test_a_target_is_a_class_or_one_per_row():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0]])
    assert targets(logits, 2).tolist() == [2, 2]
    assert targets(logits, [2, 0]).tolist() == [2, 0]
    assert targets(logits, "c", names=["a", "b", "c"]).tolist() == [2, 2]
    assert targets(logits, torch.tensor([3, 1]), names=[1, 2, 3]).tolist() == [2, 0]
    for wrong in (3, -1, [0, 1, 2], 1.5, True, [[0, 1]]):
        with pytest.raises(InputError, match="target"):
            targets(logits, wrong)
