"""Other machines, W&B, foreign files and odd terminals, around real jobs."""

from test_faults import needs_root, survived


@needs_root
def test_every_fault_around_a_job_is_survived():
    rows = survived("surroundings")
    assert len(rows) == 9
