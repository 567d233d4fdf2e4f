"""The jobs of a study with the explanation of their transfers, by data set and constraint."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cftransfer.errors import InputError
from cftransfer.jobs.read import Job, long_tables
from cftransfer.measuring.answers_by_base import BaseAnswers, answers_by_base
from cftransfer.measuring.equal_margin import EqualMargin, at_equal_margin
from cftransfer.measuring.transfer_probits import Effect, TransferProbits, effects, transfer_probits
from cftransfer.report.series_names import dataset_name, search_name
from cftransfer.report.study_running import Outcome, Part
from cftransfer.spec import PARTS

CONSTRAINTS = "counterfactual.constraints"


@dataclass(frozen=True)
class Explained:
    """One job, with its answers and the effects that explain them."""

    part: str
    name: str
    job: Job
    answers: list[BaseAnswers]
    fitted: TransferProbits
    effects: list[Effect]


@dataclass(frozen=True)
class Setting:
    """The jobs on one data set under one constraint. seed: the one of them that the others are compared with."""

    dataset: str
    constraints: str
    jobs: list[Explained]
    seed: Explained
    remains: list[tuple[Explained, EqualMargin]]

    @property
    def name(self) -> str:
        """Its name on the page."""
        return f"{dataset_name(self.dataset)}, {search_name(self.constraints)}"


def explained(outcomes: Sequence[Outcome]) -> tuple[list[Explained], list[str]]:
    """Return the jobs with their explanations, and the names of jobs without answers to explain."""
    done, left_out = [], []
    for outcome in outcomes:
        for panel in outcome.jobs.panels:
            for job in panel.jobs:
                name = _name(outcome.part, job, panel.knob)
                try:
                    answers = answers_by_base(*long_tables(job.folder))
                except InputError:
                    answers = []
                if not answers:
                    left_out.append(f"{name} ({outcome.dataset})")
                    continue
                fitted = transfer_probits(answers)
                done.append(Explained(outcome.part.name, name, job, answers, fitted, effects(fitted)))
    return done, left_out


def _name(part: Part, job: Job, knob: str | None) -> str:
    """Return the job in words: the swept value with its unit; the part's title without one."""
    value = job.settings.get(knob) if knob is not None else None
    unit = part.unit.removesuffix("s") if value == 1 else part.unit
    at = f"{value} {unit}" if value is not None else ""
    if part.name == "seed":
        return f"another seed, {at}" if at else "another seed"
    return at or part.title.lower()


def by_setting(read: Sequence[Explained]) -> list[Setting]:
    """Return the jobs by data set and constraint, without jobs that repeat the one they are compared with."""
    together: dict[tuple[str, str], list[Explained]] = {}
    for one in read:
        where = (str(one.job.settings.get("dataset")), str(one.job.settings.get(CONSTRAINTS)))
        together.setdefault(where, []).append(one)
    settings = []
    for (dataset, constraints), some in together.items():
        usual = Counter(_bases_of(one) for one in some).most_common(1)[0][0]
        seeds = [one for one in some if one.part == "seed"]
        seed = next((one for one in seeds if _bases_of(one) == usual), next(iter(seeds), None))
        if seed is None:
            continue
        others = [one for one in some if one is not seed and one.job.result.what != seed.job.result.what]
        remains = [(one, _beside(one, seed)) for one in others]
        settings.append(Setting(dataset, constraints, [seed, *others], seed, remains))
    return settings


def _beside(one: Explained, seed: Explained) -> EqualMargin:
    return at_equal_margin(one.answers, seed.answers, same_bases=_bases_of(one) == _bases_of(seed))


def _bases_of(one: Explained) -> str:
    """Return the settings that decide the bases; jobs with equal settings have the same bases."""
    config = one.job.result.config
    return json.dumps([*(config.get(name) for name in (*PARTS, "seed")), len(one.answers)], sort_keys=True)
