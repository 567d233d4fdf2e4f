"""The examples of a report: counterfactuals as cards of what changed, or as pictures."""

import base64
from typing import Any

import pandas as pd

from cftransfer.errors import plain
from cftransfer.jobs.read import Job
from cftransfer.jobs.schema import content
from cftransfer.measuring.per_counterfactual import in_words

PICTURED = 8  # jobs whose pictures the page holds, up to 2 MB each; those of others stay in their folders


def cards(examples: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return what a card says of each example of a table's rows; [] for images, of which there are pictures."""
    if "feature" not in examples:
        return []
    found: dict[Any, dict[Any, Any]] = {}
    for row in examples.to_dict("records"):
        card = found.setdefault(row["example"], {**row, "changes": []})
        card["changes"].append({name: row[name] for name in ("feature", "old", "new")})
    return list(found.values())


def extremes(job: Job) -> list[dict[Any, Any]]:
    """Return the cards of the counterfactuals that hold on the most references and on the fewest.

    [] for images, and where each base meets one reference.
    """
    found = cards(job.extremes) if job.extremes is not None else []
    found = [card for card in found if card["n_references"] > 1]  # one reference accepts it or not: no more, no less
    return [{**card, "held": in_words(card["share"], card["n_references"], card["low"])} for card in found]


def pictures(job: Job, index: int) -> list[tuple[str, str]]:
    """Return name and content, for a page that needs no other file, of the pictures of the first jobs."""
    shown = job.pictures if index < PICTURED else []
    return [
        (plain(path.stem), base64.b64encode(content(job.folder, path.relative_to(job.folder).as_posix())).decode())
        for path in shown
    ]
