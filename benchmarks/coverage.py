"""How often does the interval of a rate hold the truth? Simulated: on the logit, as reported, and Student's beside it.

python benchmarks/coverage.py      two minutes; the table of docs/statistics.md
python benchmarks/coverage.py --rounds 200

Each cell draws `rounds` matrices bases × references of rates with the given mean. Bases alone, references alone, the
pair alone (interaction), or bases and references (.7 : .7 : .14) make them vary; the margins are normal or Beta, and
each rate is then that of 1,000 counterfactuals. Named are the cells from 5 × 10 on that cover less than .92.
"""

import argparse
import platform

import numpy as np
from scipy import stats

from cftransfer.measuring.statistics import share_interval, two_way_interval

MEANS = (0.5, 0.9, 0.97, 0.99)
DESIGNS = ((2, 3), (5, 10), (10, 20), (20, 40))
EFFECTS = {"both": (0.7, 0.7, 0.14), "bases": (1, 0, 0.1), "references": (0, 1, 0.1), "interaction": (0, 0, 1)}
MARGINS = {"normal": 0.3, "Beta": 0.9}  # standard deviation of a rate, in units of 1 − mean; at most .1
LEAST = 0.92


def drawn(rng: np.random.Generator, margin: str, mean: float, design: tuple[int, int], effects: tuple) -> np.ndarray:
    """Return one matrix of rates."""
    bases, references = design
    weights = np.array(effects) / np.linalg.norm(effects)
    parts = (rng.normal(size=(bases, 1)), rng.normal(size=(1, references)), rng.normal(size=design))
    normal = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    sd = min(0.1, MARGINS[margin] * (1 - mean))
    if margin == "normal":
        rates = np.clip(mean + sd * normal, 0, 1)
    else:
        total = mean * (1 - mean) / sd**2 - 1
        rates = stats.beta.ppf(stats.norm.cdf(normal), mean * total, (1 - mean) * total)
    return rng.binomial(1000, rates) / 1000


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


def main() -> None:
    """Print the table, and the cells that cover too seldom."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1000, help="matrices per cell; 1,000 know .95 to within .014")
    rounds = parser.parse_args().rounds
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
