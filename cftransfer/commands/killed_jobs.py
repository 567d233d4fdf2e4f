"""Lets a sweep under hydra/launcher=local go on when the system has killed one of its jobs, for example out of memory.

Why this patches submitit: Hydra's launcher waits with `[job.results()[0] for job in jobs]`, and submitit raises for the
first job that left no answer, so that the batches after it would never start. Neither has a setting or a callback for
it. `test_after_a_job_that_was_killed_the_others_run_too` shows the need, and passes without this file once they do.
"""

import logging
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

log = logging.getLogger(__name__)


def outlive_killed_jobs() -> None:
    """Let a job of submitit's that was killed answer NaN, as a job that failed does, and name its log."""
    from submitit.core.utils import UncompletedJobError
    from submitit.local.local import LocalJob

    real = LocalJob.results

    def results(job: Any) -> list[Any]:
        try:
            return real(job)
        except UncompletedJobError:
            log.error("a job was killed, or died: process %s; its last words are in %s", job.job_id, job.paths.stdout)
            lost = JobReturn(status=JobStatus.COMPLETED)
            lost.return_value = float("nan")
            return [lost]

    LocalJob.results = results  # type: ignore[method-assign, assignment]
