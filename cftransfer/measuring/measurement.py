"""measure: search, ask and count in one call, or count existing answers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cftransfer.errors import InputError
from cftransfer.measuring.asking import Answers, Groups, ask
from cftransfer.measuring.result import Result
from cftransfer.measuring.stage_seconds import Stopwatch
from cftransfer.searching.engine import Method, Space, search
from cftransfer.searching.judging import judge


def measure(
    bases: Answers | Any,
    references: Groups = None,
    x: Any = None,
    *,
    counterfactuals: Any = None,
    space: Space | None = None,
    method: Method = "gradient",
    constraints: str | None = None,
    target: Any = None,
    background: tuple[Any, Any] | None = None,
    generating: Any = None,
    test: Any = None,
    nested: bool = False,
    seeds: Sequence[int] | None = None,
    **settings: Any,
) -> Result:
    """Measure how many counterfactuals of the bases the references agree with.

    Args:
        bases: the result of `ask`, without further arguments; or a base model, or a list of base models.
        references: models, a list of them, or named groups (`ask`).
        x: (n, *input) factuals in [0, 1], or a DataFrame in original units (`search`).
        counterfactuals: points made elsewhere, (n, *input) for one base, or a list of such tensors, one per base; they
            are judged (`judge`), and nothing is searched.
        space: the features of the inputs, or their pixels.
        method: the search method (`search`).
        constraints: none, box, possible or actionable.
        target: the class to aim at.
        background: (x_train, y_train), for methods that need it and for the control of the nearest row.
        generating: further models, for methods that search on several: a list, or a function of the base's number and
            the number of models.
        test: test rows on which bases and references are compared, for `Result.distances` (`ask`).
        nested: whether each base has its own reference (`ask`).
        seeds: names of the bases in the tables.
        settings: options of the search method.

    Returns:
        Result: rates by group and the numbers to read beside them, with intervals over models.

    >>> import torch
    >>> def line(bias):
    ...     model = torch.nn.Linear(2, 1)
    ...     state = {"weight": torch.tensor([[1.0, 1.0]]), "bias": torch.tensor([bias])}
    ...     return model.load_state_dict(state) and model
    >>> x = torch.tensor([[0.2, 0.2], [0.3, 0.1]])
    >>> result = measure(line(-1.0), [line(-0.9), line(-1.1)], x, method="minimal", test=torch.rand(200, 2))
    >>> result.rate
    0.5
    >>> result.accepted_by.share.tolist(), result.tails().rate_all[0].item()
    ([1.0, 0.0], 0.0)
    >>> bool((result.distances.disagreement < 0.2).all())
    True
    """
    if isinstance(bases, Answers):
        given = (references, x, counterfactuals, space, constraints, target, background, generating, test, seeds)
        if settings or nested or method != "gradient" or any(one is not None for one in given):
            raise InputError("measure: pass answers alone, or bases, references and x")
        return Result(bases.counterfactuals, bases.transfers, bases.settings, bases.distances, bases.seconds)
    if references is None or x is None:
        raise InputError("measure: pass answers alone, or bases, references and x")
    every = list(bases) if isinstance(bases, list | tuple) else [bases]
    watch = Stopwatch()
    if counterfactuals is not None:
        if settings or method != "gradient" or generating is not None:
            raise InputError(
                "counterfactuals: are judged, not searched; leave out method, generating and the method's settings"
            )
        several = counterfactuals if isinstance(counterfactuals, list | tuple) else [counterfactuals]
        if len(several) != len(every):
            raise InputError(f"counterfactuals: has {len(several)} entries for {len(every)} bases; pass one per base")
        judging = {"space": space, "target": target, "constraints": constraints}
        found = [judge(base, x, made, **judging) for base, made in zip(every, several, strict=True)]
    else:
        how = {"space": space, "method": method, "constraints": constraints, "target": target}
        with watch.stage("searching", len(every)):
            found = [
                search(base, x, background=background, generating=_of(generating, index), **how, **settings)
                for index, base in enumerate(every)
            ]
    answers = ask(found, references, background=background, test=test, nested=nested, seeds=seeds)
    searched = watch.seconds()
    return measure(
        replace(answers, seconds=replace(answers.seconds, searching=searched.searching, bases=searched.bases))
    )


def _of(generating: Any, base: int) -> Any:
    return (lambda count: generating(base, count)) if callable(generating) else generating
