"""trainer=gpu gives the numbers of trainer=cpu up to rounding; skipped without a CUDA device, as in CI."""

import pytest
import torch
from conftest import composed
from photos import put_cifar10

from cftransfer.commands.plan import plan
from cftransfer.data.cifar10_airplane import cifar10_airplane
from cftransfer.data.pixels import unit
from cftransfer.models.prediction import device_of, logits
from cftransfer.store import prepare, trained
from cftransfer.store.searched import run_search

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SPEC = {
    "dataset": {},
    "model": {"_target_": "cnn", "layers": 2, "width": 8},
    "training": {"epochs": 2, "lr": 0.001, "batch_size": 16},
}


@pytest.mark.parametrize("stacked", [True, False])
def test_models_and_counterfactuals_are_those_of_the_cpu_but_for_rounding(tmp_path, stacked):
    put_cifar10(tmp_path)
    data = cifar10_airplane(tmp_path, split_seed=0)
    plan(composed("trainer=gpu", f"paths.store={tmp_path / 'plan'}"))  # makes the settings that keep rounding small
    found = {}
    for accelerator in ("cpu", "gpu"):
        hardware = trained.Hardware(accelerator, stacked)
        store = prepare(tmp_path / accelerator)
        models = trained.trained(SPEC, [0, 1], dataset=data, store=store, hardware=hardware)
        assert device_of(models[0]).type == ("cuda" if accelerator == "gpu" else "cpu")
        settings = composed("dataset=cifar10_airplane").counterfactual
        result = run_search(models[0], unit(data.x_test[:20]), settings=dict(settings), dataset=data)
        found[accelerator] = logits(models[0], data.x_test), result
    torch.testing.assert_close(found["gpu"][0], found["cpu"][0], atol=1e-2, rtol=0)
    assert torch.equal(found["gpu"][1].found, found["cpu"][1].found)
    torch.testing.assert_close(found["gpu"][1].counterfactual, found["cpu"][1].counterfactual, atol=0.01, rtol=0)
