"""A job's W&B run, its logged exception, its files; `python -m cftransfer.tracking` uploads runs and makes a dashboard.

Nothing heavy is imported here, so that --help is instant.
"""

from cftransfer.jobs.provenance import job_folder
from cftransfer.tracking.run import Tracked, mean_curve, report_run, wandb_run

__all__ = ["Tracked", "job_folder", "mean_curve", "report_run", "wandb_run"]
