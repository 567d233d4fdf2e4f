"""How often does the interval of a rate hold the truth? Simulated: on the logit, as reported, and Student's beside it.

python benchmarks/coverage.py      two minutes; the table of docs/statistics.md
python benchmarks/coverage.py --rounds 200
python benchmarks/coverage.py --splits      one minute; the table of splits in docs/statistics.md
python benchmarks/coverage.py --rare        seconds; rare bases that fail, the exception in docs/statistics.md
python benchmarks/coverage.py --plans       minutes; how often planned models reach the width, for docs/statistics.md
python benchmarks/coverage.py --real        two minutes; parts of 60 × 60 networks on breast cancer

Each cell draws `rounds` matrices bases × references of rates with the given mean. Bases alone, references alone, the
pair alone (interaction), or bases and references (.7 : .7 : .14) make them vary; the margins are normal or Beta, and
each rate is then that of 1,000 counterfactuals. Named are the cells from 5 × 10 on that cover less than .92.
"""

import argparse
import platform

import numpy as np
from scipy import stats

import cftransfer as cft
from cftransfer.columns import matrix
from cftransfer.measuring.over_splits import spread_over_splits
from cftransfer.measuring.planning import TOLERANCE, Plan, plan_of, planned
from cftransfer.measuring.statistics import Variances, share_interval, spread, student, two_way_interval

MEANS = (0.5, 0.9, 0.97, 0.99)
DESIGNS = ((2, 3), (5, 10), (10, 20), (20, 40))
EFFECTS = {"both": (0.7, 0.7, 0.14), "bases": (1, 0, 0.1), "references": (0, 1, 0.1), "interaction": (0, 0, 1)}
MARGINS = {"normal": 0.3, "Beta": 0.9}  # standard deviation of a rate, in units of 1 − mean; at most .1
LEAST = 0.92
SPLITS = (2, 3, 5, 10)
PLANNED = (0.6, 0.9, 0.95, 0.97, 0.98, 0.99)  # means
WIDTHS = (0.3, 0.5, 0.8)  # wanted half-widths, in standard deviations of a rate
MODELS = 60  # bases, and as many references, of `--real`
PARTS = ((2, 3), (5, 10), (10, 20))  # bases × references drawn from these
# Standard deviations of split, base, reference and error within a split; then of a seed's effect on all splits.
KINDS = {
    "0, per split": (0, 0.05, 0.05, 0.02, 0, 0),
    ".013, per split": (0.013, 0.05, 0.05, 0.02, 0, 0),
    ".027, per split": (0.027, 0.05, 0.05, 0.02, 0, 0),
    ".055, per split": (0.055, 0.05, 0.05, 0.02, 0, 0),
    ".15, per split": (0.15, 0.05, 0.05, 0.02, 0, 0),
    "0, lasting": (0, 0, 0, 0.02, 0.05, 0.05),
    ".013, half lasting": (0.013, 0.035, 0.035, 0.02, 0.035, 0.035),
    ".027, half lasting": (0.027, 0.035, 0.035, 0.02, 0.035, 0.035),
    ".08, lasting": (0.08, 0, 0, 0.02, 0.05, 0.05),
}


def drawn(rng: np.random.Generator, margin: str, mean: float, design: tuple[int, int], effects: tuple) -> np.ndarray:
    """Return one matrix of rates."""
    bases, references = design
    weights = np.array(effects) / np.linalg.norm(effects)
    parts = (rng.normal(size=(bases, 1)), rng.normal(size=(1, references)), rng.normal(size=design))
    normal = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return rng.binomial(1000, with_margin(normal, margin, mean)) / 1000


def deviation(margin: str, mean: float) -> float:
    """Return the standard deviation of a rate."""
    return min(0.1, MARGINS[margin] * (1 - mean))


def with_margin(normal: np.ndarray, margin: str, mean: float) -> np.ndarray:
    """Return standard normal numbers as rates with this margin."""
    sd = deviation(margin, mean)
    if margin == "normal":
        return np.clip(mean + sd * normal, 0, 1)
    total = mean * (1 - mean) / sd**2 - 1
    return stats.beta.ppf(stats.norm.cdf(normal), mean * total, (1 - mean) * total)


def variances_of(margin: str, mean: float, effects: tuple) -> Variances:
    """Return the variances of base, reference and pair of the rates that `drawn` draws, by Gauss–Hermite quadrature."""
    points, shares = np.polynomial.hermite_e.hermegauss(80)
    shares = shares / shares.sum()
    weights = np.array(effects) / np.linalg.norm(effects)
    rates = with_margin(points, margin, mean)
    middle, square = shares @ rates, shares @ rates**2

    def of(weight: float) -> float:
        others = np.sqrt(1 - weight**2) * points
        return float(shares @ (with_margin(weight * points[:, None] + others, margin, mean) @ shares) ** 2 - middle**2)

    base, reference = of(weights[0]), of(weights[1])
    return Variances(base, reference, float(square - middle**2 - base - reference + (middle - square) / 1000))


def cell(margin: str, mean: float, design: tuple[int, int], effects: tuple, rounds: int) -> tuple[float, ...]:
    """Return coverage and mean width of Student's interval, and of the one on the logit."""
    rng, found = np.random.default_rng(0), []
    for _ in range(rounds):
        rates = drawn(rng, margin, mean, design, effects)
        for interval in (two_way_interval(rates), share_interval(rates)):
            low, high = max(interval.low, 0.0), min(interval.high, 1.0)
            found.append((low <= mean <= high, high - low))
    both = np.array(found).reshape(rounds, 4).mean(0)
    return both[0], both[2], both[1], both[3]


def on_splits(rng: np.random.Generator, splits: int, sizes: tuple[float, ...]) -> np.ndarray:
    """Return (splits, 5, 10) rates around .5."""
    split, base, reference, error, same_base, same_reference = sizes
    I, J = 5, 10
    seeds = same_base * rng.normal(size=(I, 1)), same_reference * rng.normal(size=(1, J))
    every = []
    for _ in range(splits):
        middle, bases = split * rng.normal(), base * rng.normal(size=(I, 1))
        references, errors = reference * rng.normal(size=(1, J)), error * rng.normal(size=(I, J))
        every.append(0.5 + middle + bases + references + errors + sum(seeds))
    return np.stack(every)


def half_widths(rates: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return mean and half-width of ours, Student's over splits, pooled freedom, and the first split alone."""
    S, mean = len(rates), float(rates.mean())
    ours, one, over = (
        student(spread_over_splits([*rates])),
        two_way_interval(rates[0]),
        spread(rates.mean((1, 2))[:, None]),
    )
    within = [spread(matrix) for matrix in rates]
    of_models = np.sqrt(np.mean([known.error**2 for known in within]) / S)
    freedom = S - 1 if over.error > of_models else S * np.mean([known.freedom for known in within])
    pooled = stats.t.ppf(0.975, freedom) * max(over.error, of_models)
    alone = stats.t.ppf(0.975, S - 1) * over.error
    return ((mean, (ours.high - ours.low) / 2), (mean, alone), (mean, pooled), (one.mean, (one.high - one.low) / 2))


def table_of_splits(rounds: int) -> None:
    """Print how often intervals over splits of 5 × 10 models cover, and half their widths."""
    print("| splits | vary by, seeds | this one | Student's over splits | pooled | one split | half-widths |")
    print("|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for splits in SPLITS:
        for kind, sizes in KINDS.items():
            found = np.array([half_widths(on_splits(rng, splits, sizes)) for _ in range(rounds)])
            covers = (np.abs(found[..., 0] - 0.5) <= found[..., 1]).mean(0)
            shares, widths = (" | ".join(f"{share:.3f}" for share in covers), found[..., 1].mean(0))
            print(f"| {splits} | {kind} | {shares} | {', '.join(f'{width:.3f}' for width in widths)} |")


def table_of_rare_bases(rounds: int) -> None:
    """Print the coverage if a base's rate is .999, or .5 with a small probability; pairs vary by counterfactuals."""
    print("| models | share of bases at .5 | coverage | drawn without such a base |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    for bases, references in DESIGNS[1:]:
        for share in (0.02, 0.1, 0.3):
            covers, without = [], []
            for _ in range(rounds):
                fails = rng.random((bases, 1)) < share
                chances = np.broadcast_to(np.where(fails, 0.5, 0.999), (bases, references))
                interval = share_interval(rng.binomial(1000, chances) / 1000)
                covers.append(interval.low <= share * 0.5 + (1 - share) * 0.999 <= interval.high)
                without.append(not fails.any())
            print(f"| {bases} × {references} | {share} | {np.mean(covers):.3f} | {np.mean(without):.3f} |")


def reached(rng: np.random.Generator, margin: str, mean: float, plan: Plan | None) -> bool:
    """Return whether the printed interval of newly drawn models is at most 15 % wider than wanted."""
    assert plan is not None
    assert plan.models is not None
    interval = share_interval(drawn(rng, margin, mean, plan.models, EFFECTS["both"]))
    return (interval.high - interval.low) / 2 <= (1 + TOLERANCE) * plan.wanted


def table_of_plans(rounds: int) -> None:
    """Print the share of draws in which planned models reach the width: known variances, and those of 5 × 10 models."""
    print(f"| margin | mean | known: ± {', '.join(map(str, WIDTHS))} sd | of 5 × 10 models: ± {WIDTHS[1]} sd |")
    print("|---|---|---|---|")
    rng, effects = np.random.default_rng(0), EFFECTS["both"]
    for margin in MARGINS:
        for mean in PLANNED:
            known, sd, cells = variances_of(margin, mean, effects), deviation(margin, mean), []
            for width in WIDTHS:
                plan = planned(known, half_width=width * sd, mean=mean)
                share = np.mean([reached(rng, margin, mean, plan) for _ in range(rounds)])
                cells.append(f"{' × '.join(map(str, plan.models or ()))}: {share:.3f}")
            few = (drawn(rng, margin, mean, (5, 10), effects) for _ in range(rounds))
            kept = [reached(rng, margin, mean, plan_of(rates, half_width=WIDTHS[1] * sd)) for rates in few]
            print(f"| {margin} | {mean} | {', '.join(cells)} | {np.mean(kept):.3f} |", flush=True)


def real_rates() -> np.ndarray:
    """Return the rates of MODELS × MODELS networks that differ in their seed, on breast cancer, at confidence .99."""
    data = cft.dataset("sklearn", name="breast_cancer")
    seeds = [*range(MODELS), *range(1000, 1000 + MODELS)]
    models = cft.train(data, layers=4, width=64, seeds=seeds)
    found = [
        cft.search(base, data.x_test, space=data.space, method="gradient", confidence=0.99) for base in models[:MODELS]
    ]
    return matrix(cft.measure(cft.ask(found, models[MODELS:])).pairs)


def table_of_real_models(rounds: int) -> None:
    """Print how often intervals of parts of a real matrix cover its mean; bases and references are drawn once each."""
    print("| mean | lowest, highest base | models | coverage before → now | width |")
    print("|---|---|---|---|---|")
    rates, rng = real_rates(), np.random.default_rng(0)
    mean, bases = rates.mean(), rates.mean(1)
    for part in PARTS:
        found = []
        for _ in range(rounds):
            some = rates[np.ix_(*(rng.choice(MODELS, many, replace=False) for many in part))]
            for interval in (two_way_interval(some), share_interval(some)):
                low, high = max(interval.low, 0.0), min(interval.high, 1.0)
                found.append((low <= mean <= high, high - low))
        before, width, now, new_width = np.array(found).reshape(rounds, 4).mean(0)
        ends, covers = f"{bases.min():.3f}, {bases.max():.3f}", f"{before:.3f} → {now:.3f}"
        print(f"| {mean:.4f} | {ends} | {' × '.join(map(str, part))} | {covers} | {width:.3f} → {new_width:.3f} |")


TABLES = {
    "splits": (table_of_splits, "of intervals over splits of the rows"),
    "rare": (table_of_rare_bases, "of rates near 1 with a few bases that fail"),
    "plans": (table_of_plans, "how often planned models reach the wanted width"),
    "real": (table_of_real_models, "of parts of a real matrix of rates near 1"),
}


def main() -> None:
    """Print the table that an option names, by default the one by margin."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, help="matrices per cell; 1,000 know .95 to within .014")
    for name, (_, words) in TABLES.items():
        parser.add_argument(f"--{name}", dest="table", action="store_const", const=name, help=words)
    options = parser.parse_args()
    table, _ = TABLES.get(options.table, (table_of_margins, ""))
    table(options.rounds)


def table_of_margins(rounds: int) -> None:
    """Print the coverage by margin, mean and number of models, and the cells that cover too seldom."""
    print(f"{rounds} rounds per cell, numpy {np.__version__}, Python {platform.python_version()}\n")
    print("| margin | mean | models | coverage before → now: both | bases | references | interaction | width, both |")
    print("|---|---|---|---|---|---|---|---|")
    short = []
    for margin in MARGINS:
        for mean in MEANS:
            for design in DESIGNS:
                cells = {name: cell(margin, mean, design, effects, rounds) for name, effects in EFFECTS.items()}
                said = " | ".join(f"{before:.3f} → {now:.3f}" for before, now, *_ in cells.values())
                many = " × ".join(map(str, design))
                print(f"| {margin} | {mean} | {many} | {said} | {cells['both'][2]:.3f} → {cells['both'][3]:.3f} |")
                if design != DESIGNS[0]:
                    short += [f"{margin}, mean {mean}, {many}, {name}: {now:.3f}"
                              for name, (_, now, *_) in cells.items() if now < LEAST]  # fmt: skip
    print(f"\nbelow {LEAST} from 5 × 10 on: {'; '.join(short) or 'none'}")


if __name__ == "__main__":
    main()
