"""Check the prose of README, docs, docstrings, comments and messages: `make check` runs it.

    python tests/prose.py                   each hit as path:line: tic: words; exit status 1 if there is one
    python tests/prose.py PATH …            these files alone, also those that are not yet clean
    python tests/prose.py --count [COMMIT]  how often each tic stands in the working tree, or stood in a commit

tests/prose.toml has the tics, and the paths that are not checked yet. Spelling is codespell's (pyproject.toml).
"""

import argparse
import ast
import fnmatch
import io
import json
import re
import subprocess
import sys
import tarfile
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "tests" / "prose.toml").read_text(encoding="utf-8"))
# Allowed words come first in the pattern, so that a tic within them is not a match of `tic`.
TICS = {
    name: re.compile(rf"{tic.get('allow', '(?!)')}|(?P<tic>{tic['find']})", re.IGNORECASE | re.MULTILINE)
    for name, tic in SETTINGS["tics"].items()
}
WITH_COMMENTS = {".yaml", ".yml", ".toml", ".sh", ".txt", ".cff", ".gitignore", "Makefile", "run"}
Hit = tuple[int, str, str]  # line, tic, words


def blank(text: str) -> str:
    """Replace all but line ends by spaces, so that every character keeps its place."""
    return re.sub(r"[^\n]", " ", text)


def without(pattern: str, text: str) -> str:
    """Replace matches by x's: a noun stands there, but no prose."""
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", "x", match[0]), text, flags=re.DOTALL)


def prose_only(text: str) -> str:
    """Take out inline code, addresses and placeholders."""
    for pattern in (r"``.+?``", r"`[^`]+?`", r"(?<=\]\()[^)\s]+", r"https?://[^\s)>]+", r"\{[^{}]*\}"):
        text = without(pattern, text)
    return text


def markdown(text: str) -> str:
    """Prose of a Markdown page: without its code blocks and comments."""
    return re.sub(r"^( *)```.*?^\1```|<!--.*?-->", lambda match: blank(match[0]), text, flags=re.DOTALL | re.MULTILINE)


def python(text: str, *, strings: bool) -> str:
    """Prose of Python: comments and docstrings; with `strings` also every other string of two words or more."""
    lines = text.splitlines(keepends=True)
    kept = [blank(line) for line in lines]
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        message = kind in {"STRING", "FSTRING_MIDDLE"} and (strings or token.start[0] in docstrings)
        if kind != "COMMENT" and not (message and " " in token.string.strip()):
            continue
        words = re.sub(r"""^[#:]+|^[rbfu]*("{3}|'{3}|"|')|("{3}|'{3}|"|')$""", lambda m: " " * len(m[0]), token.string)
        for number, part in enumerate(words.splitlines(keepends=True), token.start[0] - 1):
            start = token.start[1] if number == token.start[0] - 1 else 0
            kept[number] = kept[number][:start] + part.rstrip("\n") + kept[number][start + len(part.rstrip("\n")) :]
    return "".join(kept)


def comments(text: str) -> str:
    """Comments of a file where # begins one, at the start of a line or after a space."""
    return re.sub(r"^(?:(?!(?<!\S)#(?: |$)).)*", lambda match: blank(match[0]), text, flags=re.M).replace("#", " ")


def template(text: str) -> str:
    """Prose of a Jinja template: without statements, tags, styles and scripts."""
    parts = r"<(style|script)\b.*?</\1>|\{\{.*?\}\}|\{%.*?%\}|<[^<>]*>"
    return re.sub(parts, lambda match: blank(match[0]), text, flags=re.DOTALL)


def notebook(text: str) -> str:
    """The Markdown of a notebook, one cell after the other."""
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def prose_of(path: str, text: str) -> str | None:
    """The prose of a file, each character in its place; None for files without."""
    suffix = Path(path).suffix or Path(path).name
    if suffix == ".py":
        return prose_only(python(text, strings=matches(path, SETTINGS["strings"])))
    if suffix == ".md":
        return prose_only(markdown(text))
    if suffix == ".j2":
        return prose_only(template(text))
    if suffix == ".ipynb":
        return prose_only(notebook(text))
    return prose_only(comments(text)) if suffix in WITH_COMMENTS else None


def matches(path: str, globs: list[str]) -> bool:
    return any(fnmatch.fnmatch(path, glob) for glob in globs)


def long_lines(path: str, text: str) -> Iterator[Hit]:
    """Markdown lines that are too long outside tables and code; one long word cannot be broken."""
    if not path.endswith(".md") or matches(path, SETTINGS["generated"]):
        return
    for number, line in enumerate(map(str.rstrip, markdown(text).splitlines()), 1):
        if len(line) > SETTINGS["columns"] and line[0] != "|" and " " in line[2 : SETTINGS["columns"]]:
            yield number, "long_line", f"{len(line)} columns"


def hits(path: str, text: str) -> list[Hit]:
    """Each tic in a file, in the order of its lines."""
    prose = prose_of(path, text)
    if prose is None:
        return []
    found = list(long_lines(path, text))
    for name, pattern in TICS.items():
        for match in pattern.finditer(prose):
            if not match["tic"]:
                continue
            words = prose[max(match.start() - 30, 0) : match.end() + 40]
            found.append((prose.count("\n", 0, match.end()) + 1, name, " ".join(words.split())))
    return sorted(found)


def working_tree(paths: list[str]) -> dict[str, str]:
    """The text files that git tracks here, or those named: path to text."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return {
        name: decoded((ROOT / name).read_bytes()) for name in sorted(set(names)) if name and (ROOT / name).is_file()
    }


def commit(name: str) -> dict[str, str]:
    """The text files of a commit: path to text."""
    packed = subprocess.run(["git", "archive", name], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        return {file.name: decoded(files.extractfile(file).read()) for file in files if file.isfile()}


def decoded(content: bytes) -> str:
    return content.decode("utf-8", errors="replace") if b"\0" not in content else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--count", nargs="?", const="", metavar="COMMIT")
    words = parser.parse_args()
    if words.count is not None:
        files = commit(words.count) if words.count else working_tree([])
        counted = Counter(tic for path, text in files.items() for _, tic, _ in hits(path, text))
        for tic in [*TICS, "long_line"]:
            print(f"{tic:15} {counted[tic]:5}")
        print(f"{'together':15} {counted.total():5}")
        return 0
    seen = set()
    for path, text in working_tree(words.paths).items():
        for line, tic, found in hits(path, text):
            print(f"{path}:{line}: {tic}: {found}")
            seen.add(tic)
    for tic in sorted(seen & set(TICS)):
        print(f"{tic}: {SETTINGS['tics'][tic]['why']}", file=sys.stderr)
    return bool(seen)


if __name__ == "__main__":
    sys.exit(main())
