"""The functions that configs name by `_target_`: their settings' types, read from the source without importing it."""

import ast
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "cftransfer"
HOMES = {  # of each group: the files in which its functions stand
    "dataset": ("data/{name}.py",),
    "model": ("models/{name}.py", "models/sklearn_models.py"),
    "counterfactual": ("counterfactuals/{name}.py",),
    "rows": ("models/training_rows.py",),
    "perturbation": ("models/perturbation.py",),
}
WORDS = {"int": "whole number", "float": "number", "bool": "true or false", "str": "word", "None": "null"}


@cache
def annotations(group: str, text: str) -> dict[str, str]:
    """Return the type of each setting, in words, of the function that an option's text names; {} without one."""
    named = re.search(r"^_target_: *(\w+)", text, re.MULTILINE)
    for place in HOMES.get(group, ()) if named else ():
        path = PACKAGE / place.format(name=named[1])
        for node in ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else ():
            if isinstance(node, ast.FunctionDef) and node.name == named[1]:
                arguments = [*node.args.args, *node.args.kwonlyargs]
                return {one.arg: in_words(ast.unparse(one.annotation)) for one in arguments if one.annotation}
    return {}


def in_words(annotation: str) -> str:
    """Return a type as a user of YAML says it.

    >>> in_words("int | None")
    'whole number or null'
    >>> in_words("Sequence[str]")
    'list of words'
    """
    if listed := re.fullmatch(r"(?:Sequence|list|tuple)\[(\w+)(?:, \.\.\.)?\](.*)", annotation):
        rest = "".join(f" or {in_words(one)}" for one in listed[2].split(" | ")[1:])
        return f"list of {WORDS.get(listed[1], listed[1])}s{rest}"
    annotation = re.sub(r"(?:Mapping|dict)\[[^]]*\]", "mapping", annotation).replace("Any", "any value")
    return " or ".join(WORDS.get(one, one) for one in annotation.split(" | "))
