"""Seconds of a job by stage, and estimates for other numbers of models on the same machine."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cftransfer.measuring.models_needed import Models

UNITS = {"training": "models", "searching": "bases", "asking": "pairs"}  # each stage takes time in proportion to these
MADE = {"training": "the models", "searching": "the counterfactuals", "asking": "the answers"}


@dataclass(frozen=True)
class Seconds:
    """Wall time by stage, and how many models were trained, bases searched and pairs asked in that time.

    None and 0 for a stage with results from the store, or made elsewhere. models_each: models trained per reference;
    two if a job also asks references of the base's spec, one less if the references are made from the bases. of_models:
    whether models are trained at all. If they are given, as to `measure`, an estimate covers searching and asking
    alone.
    """

    training: float | None = None
    searching: float | None = None
    asking: float | None = None
    models: int = 0
    bases: int = 0
    pairs: int = 0
    models_each: int = 1
    of_models: bool = True

    def each(self) -> tuple[float, float, float] | None:
        """Return the seconds of a base with its search, of a reference, and of asking it about one base.

        None if a stage is missing.
        """
        if self.missing() is not None:
            return None
        training = (self.training or 0.0) / max(self.models, 1)
        searching, asking = (self.searching or 0.0) / self.bases, (self.asking or 0.0) / self.pairs
        return training + searching, self.models_each * training, asking

    def __add__(self, other: "Seconds") -> "Seconds":
        """Add the asking of `other`, later and about the same counterfactuals; the rest is counted once."""
        known = [one.asking for one in (self, other) if one.asking is not None]
        return replace(self, asking=sum(known) if known else None, pairs=self.pairs + other.pairs)

    def missing(self) -> str | None:
        """Return why there is no estimate, in words: the first stage with unknown seconds; None if all are known."""
        for stage, unit in UNITS.items():
            if (stage != "training" or self.of_models) and (getattr(self, stage) is None or not getattr(self, unit)):
                return f"unknown, since {MADE[stage]} {'came from the store' if self.of_models else 'existed before'}"
        return None

    def estimate(self, models: Models) -> float | None:
        """Return the seconds of I bases × J references: linear in the models, the searches and the pairs."""
        each = self.each()
        return None if each is None else models.cost(each)

    def written(self) -> dict[str, dict[str, Any]]:
        """Return the parts for `result.json`: `seconds` by stage, and `timed`, numbers of models, bases and pairs."""
        every = asdict(self)
        units = (*UNITS.values(), "models_each")
        return {"seconds": {name: every[name] for name in UNITS}, "timed": {name: every[name] for name in units}}


def together(parts: Sequence[Seconds]) -> Seconds:
    """Return the sums of several measurements, such as a job's splits; None for a stage that no measurement has."""
    summed: dict[str, Any] = {}
    for stage, unit in UNITS.items():
        known = [took for one in parts if (took := getattr(one, stage)) is not None]
        summed[stage] = sum(known) if known else None
        summed[unit] = sum(getattr(one, unit) for one in parts)
    return replace(parts[0], **summed)


NOTHING_TIMED = Seconds(of_models=False)


@dataclass
class Stopwatch:
    """Adds up the seconds of stages; a stage inside another counts to the inner stage alone."""

    took: dict[str, float] = field(default_factory=dict)
    units: dict[str, int] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, units: int) -> Iterator[None]:
        """Add the time of the block to a stage, and `units` to the number of its `UNITS`."""
        began = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - began
            self.took[name] = self.took.get(name, 0.0) + whole - self._inner.pop()
            self.units[name] = self.units.get(name, 0) + units
            if self._inner:
                self._inner[-1] += whole

    def seconds(self, *, models_each: int = 1, of_models: bool = True) -> Seconds:
        """Return the seconds and numbers so far."""
        training, searching, asking = (self.took.get(stage) for stage in UNITS)
        models, bases, pairs = (self.units.get(stage, 0) for stage in UNITS)
        return Seconds(training, searching, asking, models, bases, pairs, models_each, of_models)


def timed(watch: Stopwatch | None, name: str, units: int) -> AbstractContextManager[None]:
    """Return `watch.stage`, or a context that does nothing if there is no watch or nothing to make."""
    return watch.stage(name, units) if watch is not None and units else nullcontext()
