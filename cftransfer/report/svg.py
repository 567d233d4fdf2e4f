"""Figures as SVG: letters stay text, the picture has a title, and every point says its value under the pointer."""

import io
import re

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

VALUE = "value: "  # of the id that `says` gives a point; what follows is what the point says
NAMED = re.compile(rf'<g id="{VALUE}([^"]*)">')


def says(axes: Axes, x: float, y: float, text: str) -> None:
    """Put an invisible disc over a point: in an SVG it says `text` under the pointer; a PNG looks as without it."""
    axes.plot([x], [y], "o", alpha=0, markersize=13, gid=f"{VALUE}{text}")


def svg(figure: Figure, name: str, *, title: str) -> bytes:
    """Return a figure as an SVG without a background. name: the same jobs and name give the same bytes."""
    buffer, metadata = io.BytesIO(), {"Date": None, "Title": title}
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    text = buffer.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)
    return NAMED.sub(r'<g class="value"><title>\1</title>', text).encode()


def inline(picture: bytes) -> str:
    """Return an SVG as a part of a page: without what stands before it in a file of its own."""
    text = picture.decode()
    return text[text.index("<svg") :]
