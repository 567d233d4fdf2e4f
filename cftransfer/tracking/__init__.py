"""W&B as a view of job folders: a run opens with its job, and gets the content of the job's folder at its end.

`python -m cftransfer.tracking` uploads runs later, and makes a dashboard. W&B itself is imported only for runs that are
not disabled.
"""

from cftransfer.tracking.job_run import catch_up, id_of, opened, publish, publish_job
from cftransfer.tracking.report_run import publish_report

__all__ = ["catch_up", "id_of", "opened", "publish", "publish_job", "publish_report"]
