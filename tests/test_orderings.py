"""Orderings of the rate on COMPAS that hold at any level: paired over the same models, with intervals over them."""

import functools

import pytest
from conftest import composed

from cftransfer.columns import matrix
from cftransfer.commands.experiment import run
from cftransfer.commands.plan import plan
from cftransfer.measuring.statistics import difference_interval

pytestmark = pytest.mark.long
SNS, TREX = "sns counterfactual.radius={}", "trex counterfactual.stability={}"
LESS_TO_MORE = [
    ("gradient", "gradient_90"),
    # In the box: where x′ has to be possible, gradient steps on to whole numbers, beyond the boundary, and is no worse.
    ("gradient counterfactual.constraints=box", "nearest"),
    ("gradient counterfactual.constraints=box", "gradient"),
    ("minimal", "gradient"),
    # Weaker than the authors' weakest: from there on, nothing is left to gain on COMPAS.
    (SNS.format(0.01), SNS.format(0.03)),
    (SNS.format(0.03), SNS.format(0.1)),
    (TREX.format(0.3), TREX.format(0.38)),
    (TREX.format(0.38), TREX.format(0.46)),
    ("ensemble_2", "ensemble_8"),
    ("gradient", "ensemble_2"),
    ("gradient", "roar"),
    ("roar", "roar_05"),
    ("ellice_002", "ellice"),
    ("probe_35", "probe"),
]


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    """The rates of pairs, (bases, references), by the search: the same models throughout."""
    store = tmp_path_factory.mktemp("store")

    @functools.cache
    def asked(method):
        search = f"counterfactual={method}".split()
        result = run(plan(composed(*search, "samples=250", "replicates.references=6", f"paths.store={store}")))
        return matrix(result.tables["pairs"]), result.metrics["found"]

    return asked


@pytest.mark.parametrize(("less", "more"), LESS_TO_MORE)
def test_the_rate_rises(rates, less, more):
    (fewer, _), (many, _) = rates(less), rates(more)
    difference = difference_interval(many, fewer)
    print(f"{more} - {less}: {difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})")
    assert difference.mean > 0
    assert difference.low > 0, difference


@pytest.mark.parametrize(
    "method",
    [
        *("gradient", "wachter", "minimal", "nearest", "growing_spheres", "sns", "trex", "ensemble"),
        *("robx", "roar", "probe", "betarce", "ellice"),
    ],
)
def test_each_method_finds_nearly_all_that_is_possible(rates, method):
    assert rates(method)[1] >= 0.95
