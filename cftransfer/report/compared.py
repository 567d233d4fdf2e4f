"""The comparison that a report's jobs make, in words: from their settings, not from the name of their experiment."""

from collections.abc import Iterable, Sequence

from cftransfer.jobs.read import Job
from cftransfer.report.panels import Panel
from cftransfer.settings import flat

CHANGED = {"rows": "other training rows", "perturbation": "perturbed weights"}  # patches of a reference, in words
MODELS = {
    "mlp": "MLPs",
    "cnn": "CNNs",
    "resnet18": "ResNets",
    "logistic_regression": "logistic regressions",
    "decision_tree": "decision trees",
    "random_forest": "random forests",
    "gradient_boosting": "gradient-boosted trees",
    "svm": "SVMs",
    "knn": "nearest neighbours",
}  # options of conf/model, in the plural


def asked(panel: Panel) -> str:
    """Return the question of a panel's jobs, their number and settings, and the searches and pairs of each."""
    some = panel.jobs
    changed = f"models changed in one way each ({panel.experiment})"
    references = changed if "experiment" in panel.series else _all_references(some)
    data = [job.result.data.get("name") or str(job.settings.get("dataset", "—")) for job in some]
    where = listed(list(dict.fromkeys(data)))
    over = f", over {listed(panel.settings)}" if panel.settings and len(some) > 1 else ""
    many = f"{len(some)} jobs{over}; in each job" if len(some) > 1 else "One job:"
    searches, pairs = (_range(job.metrics[name] for job in some) for name in ("n_searched", "pairs"))
    seeds = _range(job.result.config.get("seed", 0) for job in some)
    pair = "pair" if pairs == "1" else "pairs"
    return (
        f"Do counterfactuals of {where} hold on {references}? {many} "
        f"{searches} searches on base models{_searched(some)}, and {pairs} {pair} of a base and a reference. "
        f"Seed {seeds}."
    )


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words as a sentence lists them: a, b and c."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _all_references(some: Sequence[Job]) -> str:
    techniques = [job.settings.get("reference.model") for job in some]
    if all(techniques):
        kinds = list(dict.fromkeys(MODELS.get(str(name), str(name)) for name in techniques))
        return f"{listed(kinds, 'or')}, trained from other seeds"
    return listed(sorted({_references(job) for job in some}), "or")


def _references(job: Job) -> str:
    patch = flat(job.result.config.get("reference") or {})
    whole = {name.partition(".")[0] for name in patch if name.endswith("._target_")}  # another kind of model
    named = dict.fromkeys(name.partition(".")[0] if name.partition(".")[0] in whole else name for name in patch)
    changed = " and ".join(CHANGED.get(name, f"another {name}") for name in named if name not in ("", "seeds"))
    if job.result.curve:
        return "the bases themselves, trained on"
    if patch.get("seeds") == "base":
        return f"references of the bases' seeds and {changed}"
    return "references of other seeds" + (f" and {changed}" if changed else "")


def _searched(some: Sequence[Job]) -> str:
    """Return the kind of base models and the search method, each if all jobs share it."""
    models, methods = ({str(job.settings.get(name) or "") for job in some} for name in ("model", "counterfactual"))
    model = f" ({MODELS.get(name, name)})" if len(models) == 1 and (name := next(iter(models))) else ""
    return model + (f" with {name}" if len(methods) == 1 and (name := next(iter(methods))) else "")


def _range(numbers: Iterable[int]) -> str:
    """Return the range of the numbers in words: 5, or from 4 to 50."""
    known = sorted(set(numbers))
    return f"{known[0]:,}" if len(known) == 1 else f"from {known[0]:,} to {known[-1]:,}"
