"""Figures as SVG: letters stay text, the picture has a title, and every point shows its value under the pointer."""

import io
import re

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

VALUE = "value: "  # begins the id that `says` gives a point; the point's text follows
NAMED = re.compile(rf'<g id="{VALUE}([^"]*)">')


def says(axes: Axes, x: float, y: float, text: str) -> None:
    """Put an invisible disc over a point: in an SVG it shows `text` under the pointer; a PNG does not change."""
    axes.plot([x], [y], "o", alpha=0, markersize=13, gid=f"{VALUE}{text}")


def svg(figure: Figure, name: str, *, title: str) -> bytes:
    """Return a figure as an SVG without background. name: seeds the ids, so that equal figures have equal bytes."""
    buffer, metadata = io.BytesIO(), {"Date": None, "Title": title}
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=metadata, transparent=True)
    text = buffer.getvalue().decode().replace("<svg ", '<svg role="img" ', 1)
    return NAMED.sub(r'<g class="value"><title>\1</title>', text).encode()


def inline(picture: bytes) -> str:
    """Return an SVG as part of a page: without the file's header."""
    text = picture.decode()
    return text[text.index("<svg") :]
