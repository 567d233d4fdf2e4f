"""Parts that the pages of all studies share: escaped text, the machine, the code."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from cftransfer import atomic
from cftransfer.errors import plain
from cftransfer.report.study_running import Outcome


def put_page(path: Path, outcomes: Sequence[Outcome], *, template: str, **values: Any) -> None:
    """Write a page in Markdown: a template with these values, the commits, the machine, and the outcomes' minutes."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cftransfer.report", "."),
        undefined=jinja2.StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first = outcomes[0].jobs.jobs[0].result
    text = environment.get_template(template).render(
        **values,
        replicates=first.config["replicates"],
        samples=first.config["samples"],
        versions=first.versions,
        commits=sorted({_commit(job.result.git) for outcome in outcomes for job in outcome.jobs.jobs}),
        machine=f"{os.cpu_count()} cores, {platform.machine()}",
        minutes={d: sum(o.seconds for o in outcomes if o.dataset == d) / 60 for d in {o.dataset: 0 for o in outcomes}},
    )
    atomic.write(path, text.encode())


def escaped(value: Any) -> Any:
    """Return text escaped for Markdown, so that it makes no tag, link, cell or code."""
    if not isinstance(value, str):
        return value
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("[", "\\["), ("`", "'")):
        value = value.replace(sign, instead)
    return plain(value)


def _commit(git: Mapping[str, Any] | None) -> str:
    return f"{git['commit'][:10]}{' and changes' if git['dirty'] else ''}" if git else "unknown"
