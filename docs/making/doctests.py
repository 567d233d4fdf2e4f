"""Examples in docstrings (`>>> …`) as blocks of code, wherever they stand; mkdocstrings loads this for every object."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*\n?(?:.+(?:\n|\Z))*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Fence the examples of each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that has just been read."""
        if obj.docstring and "```" not in obj.docstring.value:
            obj.docstring.value = EXAMPLE.sub(fenced, obj.docstring.value)


def fenced(example: re.Match[str]) -> str:
    """Return an example as a block in Markdown."""
    return f"```pycon\n{example[0].rstrip()}\n```\n"
