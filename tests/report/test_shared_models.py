"""Jobs share the models that the same settings and seeds make."""

import pytest
from test_collect import write_job

from cftransfer.report.collect import jobs
from cftransfer.report.shared_models import models_of

MLP, SVM = {"_target_": "mlp", "layers": 4, "width": 64}, {"_target_": "svm"}


def kinds_in_common(folder, *settings):
    for job, own in enumerate(settings):
        write_job(folder / str(job), rates=[[0.5, 0.6]], overrides=[f"x={job}"], **own)
    one, other = map(models_of, jobs([folder]).jobs)
    return sorted(name.partition('"')[2].partition('"')[0] for name in one & other)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"samples": 10}, {"samples": 20}, ["bases", "references"]),
        ({"model__layers": 2}, {"model__layers": 4}, []),
        ({"seed": 0}, {"seed": 1}, []),
        ({}, {"reference": {"model": {"layers": 6}}}, ["bases"]),
        ({"reference": {"model": SVM}}, {"model": SVM, "reference": {"model": SVM}}, ["references"]),
        ({"reference": {"model": SVM}}, {"model": SVM}, ["references"]),
        ({"model__layers": 2, "reference": {"model": {"layers": 4}}}, {"model__layers": 4}, ["references"]),
        (
            {"reference": {"seeds": "base", "rows": {"_target_": "part"}}},
            {"reference": {"seeds": "reference"}},
            ["bases"],
        ),
    ],
)
def test_models_are_shared_if_the_same_settings_make_them(tmp_path, one, other, shared):
    assert kinds_in_common(tmp_path, one, other) == shared
