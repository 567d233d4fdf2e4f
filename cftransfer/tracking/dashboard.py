"""The workspace of a W&B project: rates against the swept setting, curves, pairs and figures."""

import re
from typing import Any

from cftransfer.errors import InputError
from cftransfer.report.place import FIGURES
from cftransfer.tracking import names
from cftransfer.tracking.connection import ask_server

CURVE = ("rate", "rate_low", "rate_high", "rate_conditional", "agreement", "reference_accuracy")
COLUMNS = ("rate", "rate_low", "rate_high", "found", "agreement", "rate_conditional", "rate_end_to_end", "margin")
KNOB = re.compile(r"[^\W\d]\w*(\.\w+)*")  # name of a setting; W&B's package adds its own `.value`


def dashboard(*, project: str, entity: str | None, knob: str, name: str, dry_run: bool) -> str:
    """Save the workspace and return its address; with dry_run, return its specification as JSON instead.

    Raises InputError for names that W&B would refuse or could not plot, and if W&B cannot be reached.
    """
    project = names.project("--project", project)
    entity = names.word("--entity", entity, otherwise="")
    if not KNOB.fullmatch(knob) or knob.rpartition(".")[2] == "value":
        raise InputError(
            f"--knob {knob}: must be the name of a setting that is a number, as model.layers or extra_layers"
        )
    try:
        from wandb_workspaces import workspaces
    except ModuleNotFoundError as error:
        raise InputError("dashboard: needs another package of W&B; pip install wandb-workspaces") from error
    import wandb

    try:
        if not dry_run:
            ask_server()
        owner = entity or ("…" if dry_run else wandb.Api(timeout=10).default_entity)
        sections = [workspaces.Section(name=title, panels=panels, is_open=True) for title, panels in _panels(knob)]
        space = workspaces.Workspace(
            entity=str(owner),
            project=project,
            name=name,
            sections=sections,
            settings=workspaces.WorkspaceSettings(max_runs=100),
            runset_settings=workspaces.RunsetSettings(pinned_columns=[f"summary:{column}" for column in COLUMNS]),
        )
        if dry_run:
            return str(space._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2))
        space.save()
    except (wandb.Error, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"dashboard of {project}: {reason} (--dry-run works without a network)") from error
    return str(space.url)


def _panels(knob: str) -> list[tuple[str, list[Any]]]:
    """Return the sections' titles and panels. W&B draws only data that a run has: of a report, the figures."""
    from wandb_workspaces.reports import v2

    def against(title: str, metric: str) -> Any:
        y = v2.SummaryMetric(metric)
        return v2.ScatterPlot(title=title, x=v2.Config(knob), y=y, range_y=(0, 1), regression=True)

    rates = [
        against(f"Transferability rate against {knob}", "rate"),
        against("… among agreeing factuals", "rate_conditional"),
        against("… of all searches (end to end)", "rate_end_to_end"),
        v2.ScatterPlot(
            title="Rate against the base's margin", x=v2.SummaryMetric("margin"), y=v2.SummaryMetric("rate")
        ),
    ]
    found = [
        v2.BarPlot(title="Found share", metrics=["found"], range_x=(0, 1)),
        v2.BarPlot(title="Agreement", metrics=["agreement"], range_x=(0, 1)),
        v2.BarPlot(title="Controls", metrics=["control_random", "control_nearest", "control_prior"], range_x=(0, 1)),
    ]
    curves = [v2.LinePlot(title=metric, x="extra_epochs", y=[metric], range_y=(0, 1)) for metric in CURVE]
    training = [v2.LinePlot(title=metric, x="epoch", y=[metric]) for metric in ("test_loss", "test_accuracy")]
    tables = [v2.WeavePanelSummaryTable(table_name=table) for table in ("rates_by_pair", "examples", "trends")]
    return [
        ("Rates", rates),
        ("Found", found),
        ("Continued training", curves),
        ("Training (train.py)", training),
        ("Pairs, examples, trends", tables),
        ("Figures", [v2.MediaBrowser(title="Figures of sweeps", media_keys=[f"figure_{name}" for name in FIGURES])]),
        ("Pictures", [v2.MediaBrowser(title="Examples of images", media_keys=["pictures"])]),
    ]
