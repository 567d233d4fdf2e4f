"""Jobs → the sections of a report: the jobs of one sweep together, and sweeps over the same settings as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cftransfer.errors import InputError, plain
from cftransfer.jobs.read import Job, natural, typed_words, yaml_of
from cftransfer.report.panels import Panel
from cftransfer.report.swept import differences, is_replicate


def sections(done: Sequence[Job]) -> list[list[Job]]:
    """Return the jobs of each sweep, in the order of the sweeps' folders; jobs that were run alone come first.

    Sweeps are one section if their jobs together differ only in settings that at least one sweep has swept: more values
    of the same settings, or other seeds. A job that two sweeps share is in both sections.
    """
    folders = {job.folder.resolve().parent for job in done}
    sweeps = [folder for folder in sorted(folders, key=natural) if sweep_of(folder)]
    found: list[list[Job]] = []
    if alone := [job for job in done if job.folder.resolve().parent not in sweeps]:
        found.append(alone)
    first = len(found)
    for sweep in sweeps:
        some = [job for job in done if job.folder.resolve().parent == sweep]
        same = next((place for place in range(first, len(found)) if _are_one(found[place], some)), None)
        if same is None:
            found.append(some)
        else:
            found[same] += some
    return found


def told_apart(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels; those of one experiment are named by the settings swept and, if these agree, by folder."""
    found = []
    for panel in panels:
        others = [other for other in panels if other is not panel and other.experiment == panel.experiment]
        sweep = panel.keys if others else ""
        if any(other.keys == panel.keys for other in others):
            folder = panel.jobs[0].folder.resolve().parent
            sweep = plain(f"{sweep} in {folder.parent.name}/{folder.name}".strip())
        found.append(replace(panel, sweep=sweep))
    return found


def sweep_of(folder: Path) -> list[str]:
    """Return the words of the sweep that wrote into a folder, as typed; [] without one."""
    try:
        overrides = yaml_of(folder, "multirun.yaml")["hydra"]["overrides"]
        hydra = [word for word in typed_words(overrides["hydra"]) if word != "hydra.mode=MULTIRUN"]
        return ["-m", *typed_words(overrides["task"]), *hydra]
    except (InputError, KeyError, TypeError, ValueError):
        return []


def _are_one(some: Sequence[Job], others: Sequence[Job]) -> bool:
    together, *each = (set(differences(jobs)) for jobs in ([*some, *others], some, others))
    return any({name for name in together if not is_replicate(name)} <= swept for swept in each)
