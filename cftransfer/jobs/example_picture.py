"""One picture per image example: factual, counterfactual and their magnified difference, with both models' answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cftransfer.data.pixels import GREYS, PixelSpace
from cftransfer.measuring.per_counterfactual import in_words

SIDE = 224  # pixels of a panel at least; small images are enlarged by whole factors, so that pixels stay sharp
GAP, LINE, LETTERS = 12, 17, 12  # pixels
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")  # Pillow's own font lacks →, × and ∞
LONGEST = 16  # letters of a class name that fit under a panel
INK, GOOD, BAD = "#1d2733", "#1b7f3b", "#b3261e"
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def factor(x: Tensor, counterfactual: Tensor) -> int:
    """Return the largest of FACTORS that keeps the magnified difference within ± ½."""
    largest = float((counterfactual - x).abs().max())
    fitting = [factor for factor in FACTORS if factor * largest <= 0.5]
    return fitting[-1] if fitting else 1


def strip(x: Tensor, counterfactual: Tensor, told: Mapping[str, Any], *, binary: bool = True) -> np.ndarray:
    """x, counterfactual: (channels, height, width) in [0, 1] → (·, ·, 3) bytes: three panels with captions.

    The difference is grey where nothing changed, lighter where a channel rose, and darker where it fell.
    binary: whether there are two classes, so that the class other than the target has the rest of the probability.
    """
    magnified = factor(x, counterfactual)
    difference = (0.5 + magnified * (counterfactual - x)).clamp(0, 1)
    panels = [_panel(image) for image in (x, counterfactual, difference)]
    words = [
        ("factual", *_said(told, "factual", binary=binary)),
        ("counterfactual", *_said(told, "counterfactual", binary=binary)),
        (
            f"difference × {magnified}",
            f"L2 {told['l2'] / x.numel() ** 0.5 * GREYS:.2f} per pixel, of 255",
            f"L∞ {told['linf'] * GREYS:.2f} of 255",
        ),
    ]
    width, height = panels[0].size
    canvas = Image.new("RGB", (3 * (width + GAP) + GAP, height + 4 * LINE + 3 * GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.truetype(FONT, LETTERS)
    verdict, ink = _verdict(told)
    title = f"{told['from_class']} → {told['target_class']}: {verdict}"
    draw.text((GAP, GAP // 2), title, fill=ink, font=font)
    for index, (panel, lines) in enumerate(zip(panels, words, strict=True)):
        left, top = GAP + index * (width + GAP), LINE + GAP
        canvas.paste(panel, (left, top))
        for number, line in enumerate(lines):
            draw.text((left, top + height + GAP // 2 + number * LINE), line, fill=INK, font=font)
    return np.asarray(canvas)


def _verdict(told: Mapping[str, Any]) -> tuple[str, str]:
    """Return the answer of one reference, or the share of references that agree, and its colour."""
    if "share" in told:
        said = in_words(told["share"], told["n_references"], told["low"])
        return said, GOOD if told["side"] == "most" else BAD
    return ("transferred", GOOD) if told["transferred"] else ("not transferred", BAD)


def _said(told: Mapping[str, Any], where: str, *, binary: bool) -> list[str]:
    """Return the class that the base and, if there is one, the reference give to a point, with its probability.

    With three classes or more, the class is always the target.
    """
    lines = []
    for model in [model for model in ("base", "reference") if f"{model}_{where}" in told]:
        chance = told[f"{model}_{where}"]
        other = binary and chance <= 0.5
        name, chance = (told["from_class"], 1 - chance) if other else (told["target_class"], chance)
        lines.append(f"{model}: {name if len(name) <= LONGEST else name[: LONGEST - 1] + '…'} {chance:.2f}")
    return lines


def _panel(image: Tensor) -> Image.Image:
    space = PixelSpace((image.shape[0], image.shape[1], image.shape[2]))
    pixels = space.decode(image[None])[0]
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
    times = max(1, -(-SIDE // max(pixels.shape[:2])))
    return Image.fromarray(pixels.repeat(times, axis=0).repeat(times, axis=1))
