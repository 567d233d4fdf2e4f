"""The examples of a report: counterfactuals as cards with their changes, or as pictures."""

import base64
from typing import Any

import pandas as pd

from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import content
from cftransfer.measuring.per_counterfactual import in_words

PICTURED = 8  # jobs with pictures on the page, up to 2 MB each; the pictures of other jobs stay in their folders


def cards(examples: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the content of one card per example of a table; [] for images, which have pictures instead."""
    if "feature" not in examples:
        return []
    found: dict[Any, dict[Any, Any]] = {}
    for row in examples.to_dict("records"):
        card = found.setdefault(row["example"], {**row, "changes": []})
        card["changes"].append({name: row[name] for name in ("feature", "old", "new")})
    return list(found.values())


def extremes(job: Job) -> list[dict[Any, Any]]:
    """Return the cards of the counterfactuals that hold on the most references and on the fewest.

    [] for images, and if each base meets one reference.
    """
    found = cards(job.extremes) if job.extremes is not None else []
    found = [card for card in found if card["n_references"] > 1]  # one reference makes no order of counterfactuals
    return [{**card, "held": in_words(card["share"], card["n_references"], card["low"])} for card in found]


def pictures(job: Job, index: int) -> list[tuple[str, str]]:
    """Return names and contents (base64) of the pictures of the first jobs, for a page that needs no other file."""
    shown = job.pictures if index < PICTURED else []
    return [
        (plain(path.stem), base64.b64encode(content(job.folder, path.relative_to(job.folder).as_posix())).decode())
        for path in shown
    ]
