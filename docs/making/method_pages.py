"""The page of each search method: its equation, source, settings, and its cost on the frontier of docs/methods.md.

Equation and source stand in the module's docstring, below these two words; mkdocstrings puts in the function's.
"""

import ast
import re

from config_keys import CONF, ROOT, about, options, table

FOLDER = ROOT / "cftransfer" / "counterfactuals"
FRONTIER = ROOT / "docs" / "methods.md"
DATA = ("COMPAS", "ACS Employment")  # of the tables of FRONTIER, in their order


def methods() -> list[str]:
    """Return the names of the methods that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def described(name: str) -> dict[str, str]:
    """Return a method's `first` sentence, `more`, `equation` and `source`, from its module's docstring."""
    told = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    text, _, below = told.partition("\nEquation:\n")
    equation, _, source = below.partition("\nSource:\n")
    first, _, more = text.strip().partition("\n\n")
    parts = {"first": first, "more": more, "equation": equation, "source": source}
    return {part: " ".join(text.split()) for part, text in parts.items()}


def strengths(name: str) -> list[str]:
    """Return the options of conf/counterfactual that are this method at another strength."""
    begins = re.compile(rf"^ +- {name}$", re.MULTILINE)
    return [path.stem for path in options("counterfactual") if begins.search(path.read_text(encoding="utf-8"))]


def costs(name: str) -> dict[str, list[list[str]]]:
    """Return, by data set, the method's rows of the frontier's tables: search, found, L2, rate."""
    tables = FRONTIER.read_text(encoding="utf-8").split("| search | found | L2 | rate |")[1:]
    found = {}
    for data, text in zip(DATA, tables, strict=True):
        rows = [line.split("|")[1:5] for line in text.partition("\n\n")[0].splitlines() if f"| `{name}`" in line]
        found[data] = [[cell.strip() for cell in row] for row in rows]
    return found


def page(name: str) -> str:
    """Return a method's page in Markdown."""
    told = described(name)
    source = re.sub(r"(https://arxiv\.org/abs/([\d.]+\d)|https://doi\.org/(\S+))", _link, told["source"])
    settings = table(CONF / "counterfactual" / f"{name}.yaml", short=True)
    others = "".join(
        f"- `counterfactual={other}`: {about(CONF / 'counterfactual' / f'{other}.yaml')}\n" for other in strengths(name)
    )
    needs = 'path="made.csv", units="original"' if name == "imported" else ""
    call = f'cft.search(base, x, space=space, method="{name}"{", " + needs if needs else ""})'
    return "\n".join(
        part
        for part in (
            f"# {name}\n",
            f"{told['first']} {told['more']}".strip() + "\n",
            f"``` {{ .text .equation }}\n{told['equation']}\n```\n",
            f"**Source:** {source}.\n",
            f"**Use it:** `python transfer.py counterfactual={name}`, or `{call}` in Python.\n",
            f"## How it searches\n\n::: cftransfer.counterfactuals.{name}.{name}\n    options:\n"
            "      show_root_heading: false\n      show_root_toc_entry: false\n",
            f"## Settings\n\nKeys of `counterfactual.…`, and keywords of `cft.search`:\n\n{settings}",
            f"Other strengths have names of their own:\n\n{others}" if others else "",
            _costs(name),
        )
        if part
    )


def _costs(name: str) -> str:
    parts = ["## What it costs\n"]
    for data, rows in costs(name).items():
        if rows:
            lines = [f"| {' | '.join(row)} |" for row in rows]
            parts.append(f"On {data}:\n\n| search | found | L2 | rate |\n|---|---|---|---|\n" + "\n".join(lines) + "\n")
    if len(parts) == 1:
        return "## What it costs\n\nNothing is searched. Each point costs a few questions to the base.\n"
    setting = "`constraints=possible`, 5 bases × 10 references, up to 1,000 factuals each; L2 is the mean distance"
    return "\n".join(parts) + (
        f"\n{setting},\nrates have 95 % intervals over models. "
        "[All methods side by side](../methods.md#what-transfer-costs), with CPU time and plausibility.\n"
    )


def _link(match: re.Match[str]) -> str:
    label = f"arXiv:{match[2]}" if match[2] else f"doi:{match[3]}"
    return f"[{label}]({match[1]})"
