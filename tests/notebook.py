"""Run a notebook's cells as Jupyter would: the text that each prints, and the value of its last line."""

import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any


def cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def outputs(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell in a namespace; return its outputs in the notebook's format."""
    from matplotlib import pyplot

    tree, said, value = ast.parse(source), io.StringIO(), None
    last = (
        ast.Expression(tree.body.pop().value)
        if isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
        else None
    )
    with contextlib.redirect_stdout(said):
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(last, "cell", "eval"), names)
    found: list[dict[str, Any]] = []
    if said.getvalue():
        found.append({"name": "stdout", "output_type": "stream", "text": said.getvalue().splitlines(keepends=True)})
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, format="png", dpi=80)
        data = {"image/png": base64.b64encode(picture.getvalue()).decode()}
        found.append({"data": data, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        found.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return found


def texts(cell_outputs: list[dict[str, Any]]) -> list[str]:
    """Outputs that can be compared: printed lines and plain values."""
    return ["".join(one.get("text") or one["data"].get("text/plain", [])) for one in cell_outputs]


def write(path: Path, parts: list[tuple[str, str]]) -> None:
    """Write a notebook of (kind, source) parts with the outputs of its cells."""
    names: dict[str, Any] = {}
    made = []
    for index, (kind, source) in enumerate(parts):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{index}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": outputs(source, names)}
        made.append(cell)
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n")
