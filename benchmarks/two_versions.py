"""Images: epochs and searches per second with another version of the code and with this one, in one run.

python benchmarks/two_versions.py CLONE          10,000 images of CIFAR-10 (--data), CNN 4×16, by turns; ratios last

CLONE is a checkout of the other version after `make setup`. Both run in processes of their own, one after the other,
and the best of the rounds counts. With one thread, seconds are those of the process, which others lengthen less than
those of the clock. A search is `gradient` with constraints=box in passes of 32 images; few images show what its last
passes cost.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODEL = {"_target_": "cnn", "layers": 4, "width": 16}
SEARCH = {"iterations": 1000, "lr": 0.0005, "distance_weight": 0.001, "confidence": 0.5, "batch_size": 32}
SEARCHED = (20, 200)  # images


def main() -> None:
    """Measure both by turns, and print the best of each with their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, nargs="?", help="a checkout of the other version")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that holds cifar10.npz")
    parser.add_argument("--images", type=int, default=10_000, help="of the training split")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.data, images=options.images, threads=options.threads)))
        return
    if options.clone is None:
        parser.error("takes a checkout of the other version")
    words = [f"--data={options.data}", f"--images={options.images}", f"--threads={options.threads}", "--measure"]
    other, ours = [], []
    for _ in range(options.rounds):
        other.append(run(options.clone, words))
        ours.append(run(ROOT, words))
    print(f"CNN 4×16, {options.images:,} images of CIFAR-10, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    print(f"{'per second':24s} {'other':>9s} {'this':>9s} {'ratio':>6s}")
    for name in ours[0]:
        best, before = (max(rates[name] for rates in some) for some in (ours, other))
        print(f"{name:24s} {before:9.3f} {best:9.3f} {best / before:6.2f}")


def run(code: Path, words: list[str]) -> dict[str, float]:
    """Measure one version in a process of its own; return its counts per second."""
    command = [str(code / ".venv" / "bin" / "python"), str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    rates = dict(json.loads(done.stdout.splitlines()[-1]))
    if not Path(rates.pop("code")).is_relative_to(code.resolve()):
        raise RuntimeError(f"{code}: its environment has another cftransfer; run make setup there")
    return rates


def measured(folder: Path, *, images: int, threads: int) -> dict[str, Any]:
    """Return epochs and searched images per second of the version that is imported, and where its code lies."""
    import torch

    import cftransfer
    from cftransfer.counterfactuals.gradient import gradient
    from cftransfer.data.cifar10_airplane import cifar10_airplane
    from cftransfer.data.pixels import unit
    from cftransfer.models.build import build
    from cftransfer.models.population import Population, fit
    from cftransfer.models.prediction import logits, predicted
    from cftransfer.searching.constraint import constraint

    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    data = cifar10_airplane(folder, split_seed=0)
    splits = {"x_train": data.x_train[:images], "y_train": data.y_train[:images]}
    splits |= {"x_test": data.x_test, "y_test": data.y_test}
    model = build(MODEL, input_shape=data.input_shape, seed=0)
    one = Population([model], splits=splits, seeds=[0], lr=5e-4, batch_size=64)
    start = clock()
    fit(one, epochs=1, accelerator="cpu")
    rates: dict[str, Any] = {"code": cftransfer.__file__, "epochs": 1 / (clock() - start)}
    model.load_state_dict({name: weight[0].detach() for name, weight in zip(one.names, one.weights, strict=True)})
    model = model.requires_grad_(False).eval()
    x = unit(data.x_test[: max(SEARCHED)])
    target, box = 1 - predicted(logits(model, x)), constraint("box", data.space)
    for many in (8, *SEARCHED):  # the first to warm up
        start = clock()
        gradient(model, x[:many], target[:many], constraint=box, **SEARCH)  # type: ignore[arg-type]
        rates[f"searches, of {many} images"] = many / (clock() - start)
    start = clock()
    logits(model, data.x_test)
    rates["images asked"] = len(data.x_test) / (clock() - start)
    del rates["searches, of 8 images"]
    return rates


if __name__ == "__main__":
    main()
