"""Hooks of mkdocs: pages that are made, and links that lead from docs/ to other files of the repository."""

import os
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import api_page
import config_keys
import method_pages
import notebook_page

ROOT = Path(__file__).parents[2]
PAPER = (
    "*The paper* is F. Hüttemann, *Transferability of counterfactual examples across different models*, project\n"
    "report, Ruhr-Universität Bochum (Responsible AI, B. Zafar); [its experiments and hypotheses](paper.md)."
)
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)((?:#[^)\s]*)?\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the methods' pages into the menu, below the page of all methods."""
    for section in config.nav or []:
        if "Methods" in section:
            section["Methods"] += [f"methods/{name}.md" for name in method_pages.methods()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the files of the repository that pages link to."""
    made: dict[str, str | bytes] = {"reference/config.md": config_keys.page(), "reference/api.md": api_page.page()}
    made |= {f"methods/{name}.md": method_pages.page(name) for name in method_pages.methods()}
    made["quickstart.md"], pictures = notebook_page.page(ROOT / "docs" / "quickstart.ipynb")
    for name, content in (made | pictures).items():
        files.append(File.generated(config, name, content=content))
    linked = {name for file in files.documentation_pages() for name in _outside(file)}
    linked |= {name for other in sorted(linked) if other.endswith(".md") for name in _targets(other)}
    for name in sorted(linked):
        place = str(ROOT / name)
        hidden = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, f"repository/{name}", abs_src_path=place, inclusion=hidden))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Lead links that leave docs/ to their file's copy on the site, methods to their pages; cite the paper once."""
    here = page.file.src_uri
    folder = Path(_in_repository(here)).parent
    markdown = markdown.replace("quickstart.ipynb)", "quickstart.md)")
    if here == "methods.md":
        names = "|".join(method_pages.methods())
        markdown = re.sub(rf"^\| `({names})`(?= \||  ?\(default\))", r"| [`\1`](methods/\1.md)", markdown, flags=re.M)
    if re.search(r"\b[Tt]he paper\b", markdown) and "Hüttemann" not in markdown:
        markdown += "\n\n" + PAPER.replace("paper.md", os.path.relpath("paper.md", Path(here).parent)) + "\n"

    def one(match: re.Match[str]) -> str:
        target = os.path.normpath(folder / match[2])
        there = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        if there == target or not (ROOT / target).exists():
            return match[0]
        return match[1] + os.path.relpath(there, Path(here).parent) + match[3]

    return LINK.sub(one, markdown)


def _in_repository(src_uri: str) -> str:
    return src_uri.removeprefix("repository/") if src_uri.startswith("repository/") else f"docs/{src_uri}"


def _outside(file: File) -> set[str]:
    """Return the files of the repository, outside docs/, that a page links to."""
    return _targets(_in_repository(file.src_uri), file.content_string)


def _targets(name: str, text: str | None = None) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8") if text is None else text
    found = {os.path.normpath(Path(name).parent / match[2]) for match in LINK.finditer(text)}
    return {target for target in found if not target.startswith("docs") and (ROOT / target).is_file()}
