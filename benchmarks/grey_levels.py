"""Images: the cost of whole grey levels (constraints=possible) beside every point of the box, in one table.

python benchmarks/grey_levels.py      CIFAR-10 airplane and ImageNet orange (paths.data), 2 bases × 3 references each

Further words go to `transfer.py`, such as dataset=cifar10_airplane or training.epochs=2. Jobs that have their result
are not run again.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SWEEP = Path("multirun") / "grey-levels"
WORDS = ["dataset=cifar10_airplane,imagenet_orange", "counterfactual.constraints=box,possible"]
WORDS += ["replicates.bases=2", "replicates.references=3", "wandb=disabled", f"hydra.sweep.dir={SWEEP}"]


def main() -> None:
    """Run the sweep and print a row per job; exit with 1 where a possible x′ does not survive as bytes."""
    given = {word.partition("=")[0] for word in sys.argv[1:]}
    words = [word for word in WORDS if word.partition("=")[0] not in given]
    command = [sys.executable, str(ROOT / "transfer.py"), "-m", *words, *sys.argv[1:]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print("| data set | constraints | found | rate (95 % interval) | L2 | L2 a value, grey levels | found as bytes |")
    print("|---|---|---|---|---|---|---|")
    survive = True
    for path in sorted(SWEEP.glob("*/result.json"), key=lambda path: int(path.parent.name)):
        result = json.loads(path.read_text())
        found, name = result["metrics"], result["config"]["counterfactual"]["constraints"]
        rate = f"{found['rate']:.3f} ({found['rate_low']:.3f} to {found['rate_high']:.3f})"
        lengths = f"{found['distance_l2']:.3f} | {found['pixel_l2']:.2f}"
        print(
            f"| {result['data']['name']} | {name} | {found['found']:.3f} | {rate} | {lengths} "
            f"| {found['found_as_bytes']:.3f} |"
        )
        survive &= name == "box" or found["found_as_bytes"] == 1
    sys.exit(0 if survive else 1)


if __name__ == "__main__":
    main()
