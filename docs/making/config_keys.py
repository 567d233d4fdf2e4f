"""conf/*.yaml → every key with its type, default and reason, as rows and as the page reference/config.md.

A comment beside a key, or on the line above it, is its reason. A key without one repeats a key that is explained
elsewhere: an experiment's patch, or an option that begins with another. Nothing is imported, so no torch is needed.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from signatures import annotations

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
GROUPS = {  # in the order of the page, with the heading of each
    "": "The commands",
    "dataset": "Data sets",
    "input": "Inputs",
    "model": "Models",
    "training": "Training",
    "rows": "Training rows",
    "perturbation": "Changes of weights",
    "counterfactual": "Search methods",
    "experiment": "Experiments",
    "sweep": "Named sweeps",
    "debug": "Debugging",
    "trainer": "Hardware",
    "wandb": "Weights & Biases",
    "hydra": "Hydra",
    "hydra/launcher": "Launchers",
}
HYDRAS_OWN = ("hydra/job_logging", "hydra/hydra_logging")  # formats of log lines, as Python's logging takes them
KINDS = {  # of keys with a default that does not show the type
    "export": "folder or null",
    "samples": "whole number or null",
    "trainer.threads": "whole number or null",
    "trainer.stacked": "true, false or null",
    "wandb.mode": "online, offline or disabled",
    "wandb.entity": "word or null",
    "wandb.group": "word or null",
    "wandb.notes": "sentence or null",
    "hydra.launcher.gpus_per_node": "whole number or null",
}


@dataclass(frozen=True)
class Key:
    """One key of one file. reason: its comment, "" where the file has none. comes_from: the option's file."""

    name: str
    kind: str
    default: str
    reason: str
    comes_from: Path


def options(group: str) -> list[Path]:
    """Return the files of a group in the order of their names."""
    return sorted((CONF / group).glob("*.yaml"))


def about(path: Path) -> str:
    """Return the description of an option: the comment at the top of its file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = lines[1:] if lines[0].startswith("# @package") else lines
    told = []
    for line in lines:
        if not line.startswith("# "):
            break
        told.append(line[2:])
    return " ".join(told)


@cache
def keys(path: Path) -> tuple[Key, ...]:
    """Return every key that a file sets, but `defaults` and the names of functions."""
    text = path.read_text(encoding="utf-8")
    lines, group = text.splitlines(), path.parent.relative_to(CONF).as_posix()
    everywhere = group == "." or lines[0].startswith("# @package _global_")
    start = () if everywhere else tuple(group.split("/"))
    types = annotations(group, text)
    found = []
    for name, value, above in _leaves(yaml.compose(text), start):
        default = text[value.start_mark.index : value.end_mark.index].strip() or "null"
        if default in ("|", ">") or default.startswith(("|\n", ">\n")):
            default = "text"
        reason = next(filter(None, (_reason(lines, mark) for mark in (value.start_mark, *above))), "")
        kind = KINDS.get(name) or _choices(reason) or types.get(name.rpartition(".")[2]) or _kind(value, default)
        found.append(Key(name, kind, default, reason, path))
    return tuple(found)


def explained() -> dict[str, Key]:
    """Return the keys that have a reason, by name; of several files the first that explains it."""
    every = [key for group in GROUPS for path in options(group) for key in keys(path)]
    return {key.name: key for key in reversed(every) if key.reason}


def original(key: Key) -> Key | None:
    """Return the key that explains this one: itself, or the one that it repeats or patches."""
    known = explained()
    name = key.name.removeprefix("reference.")
    return key if key.reason else known.get(key.name) or known.get(name)


def page() -> str:
    """Return the page of all keys in Markdown."""
    parts = [
        "# Settings\n",
        "Every key of `conf/`, made from its files. A bare key moves both models (`model.layers=4`), `reference.…` "
        "moves only the\nreference. `group=option` chooses a file, `key=value` a value: "
        "`python transfer.py model=cnn model.layers=2`. Values such as\n`${input.step}` follow another key.\n",
    ]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        for path in options(group):
            parts.append(_option(group, path))
    return "\n".join(parts)


def table(path: Path, *, short: bool = False) -> str:
    """Return the explained keys of one file as a table; "" without any. short: names without their group."""
    rows = [key for key in keys(path) if key.reason]
    if not rows:
        return ""
    lines = ["| key | type | default | reason |", "|---|---|---|---|"]
    for key in rows:
        name = key.name.rpartition(".")[2] if short else key.name
        cells = (f"`{name}`", key.kind, f"`{_one_line(key.default)}`", _linked(key.reason))
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _option(group: str, path: Path) -> str:
    name = f"{group}={path.stem}" if group else path.name
    made = f"### `{name}`\n\n{_linked(about(path))}\n"
    if rows := table(path):
        made += f"\n{rows}"
    patched = [key for key in keys(path) if not key.reason and not key.name.startswith("hydra.mode")]
    if patched:
        said = ", ".join(f"`{key.name}: {_one_line(key.default)}`" for key in patched)
        made += f"\nSets {said}.\n"
    return made


def _leaves(node: Any, path: tuple[str, ...], above: tuple[Any, ...] = ()) -> list[tuple[str, Any, tuple[Any, ...]]]:
    """Return (name, value, marks of the key and of those that it belongs to) of each key below a node."""
    if not isinstance(node, yaml.MappingNode) or not node.value:
        return [(".".join(path), node, above)]
    found = []
    for key, value in node.value:
        if key.value not in ("defaults", "_target_"):
            found += _leaves(value, (*path, key.value), (key.end_mark, *above))
    return found


def _reason(lines: list[str], mark: Any) -> str:
    """Return the comment that follows a place on its line, with the lines that go on below, or the comment above it."""
    number = mark.line
    line = lines[number]
    beside = re.search(r"\s#\s(.*)$", line[mark.column :])
    if beside:
        told, column = [beside[1]], line.rindex("# " + beside[1])
        for later in lines[number + 1 :]:
            if later.strip().startswith("# ") and later.index("#") == column:
                told.append(later.strip()[2:])
            else:
                break
        return " ".join(told)
    above = lines[number - 1].strip() if number > 1 else ""
    return above[2:] if above.startswith("# ") else ""


def _choices(reason: str) -> str:
    """Return the words of a reason such as `l1 | l2 (squared) | mad: …`; "" where it lists none."""
    word = r"[a-z_0-9]+(?: \([^)]*\))?"
    listed = re.match(rf"{word}(?: \| {word})+", reason)
    return re.sub(r" \([^)]*\)", "", listed[0]).replace(" | ", ", ") if listed else ""


def _kind(value: Any, default: str) -> str:
    if isinstance(value, yaml.SequenceNode):
        return "list"
    if isinstance(value, yaml.MappingNode):
        return "mapping"
    if linked := re.fullmatch(r"\$\{([\w.]+)\}", default):
        other = explained().get(linked[1])
        return other.kind if other else "word"
    known = {"int": "whole number", "float": "number", "bool": "true or false", "null": "null", "str": "word"}
    return known[value.tag.rpartition(":")[2]]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _linked(text: str) -> str:
    """Lead the documents that a comment names to their pages; pages with such texts lie one folder down."""
    return re.sub(r"docs/([\w/-]+)\.md", r"[\1](../\1.md)", text.replace("<", "&lt;"))
