"""Other machines, W&B, foreign files and odd terminals, around real jobs."""

from functools import partial

import pytest
from test_faults import needs_root, survived


@partial(needs_root, suite=pytest.mark.long)
def test_every_fault_around_a_job_is_survived():
    rows = survived("surroundings")
    assert len(rows) == 9
