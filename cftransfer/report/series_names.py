"""Data sets and searches in words, for pages that need no knowledge of the configs."""

from typing import Any

from cftransfer.jobs.read import Job

DATASETS = {
    "compas": "COMPAS",
    "acs_employment": "ACS Employment",
    "cifar10_airplane": "CIFAR-10 airplane",
    "imagenet_orange": "ImageNet orange",
}
SEARCHES = {
    "none": "free search",
    "box": "search within ranges",
    "possible": "possible inputs only",
    "actionable": "actionable changes only",
}
MEANINGS = {
    "none": "moves every feature freely; it is the paper's own search",
    "box": "keeps each feature within its range in the training data",
    "possible": "ends only at inputs that can exist: within the ranges of the training data, with whole numbers and "
    "single categories where features have them, and whole grey levels in images",
    "actionable": "ends only at inputs that can exist and that a person could reach",
}  # of counterfactual.constraints


def dataset_name(key: str) -> str:
    """Return the data set's name; several keys, separated by commas, give several names; an unknown key stays."""
    return ", ".join(DATASETS.get(name, name) for name in key.split(","))


def dataset_of(job: Job, otherwise: str) -> str:
    """Return the name of the job's data set, or of the key `otherwise` if the job does not name one."""
    return dataset_name(str(job.settings.get("dataset", otherwise)))


def constraints_of(job: Job) -> str:
    """Return `counterfactual.constraints` of the job, "" without it."""
    return str(job.settings.get("counterfactual.constraints", ""))


def search_name(constraints: str) -> str:
    """Return the search under these constraints in two or three words."""
    return SEARCHES.get(constraints, constraints)


def search_meaning(constraints: str) -> dict[str, Any]:
    """Return a page's introduction of a search: its name, its meaning, and the key that sets it."""
    return {"name": search_name(constraints), "meaning": MEANINGS.get(constraints, ""), "key": constraints}
