"""Full disks, damage, closed folders, wrong clocks and other users, done to the store of real jobs."""

from functools import partial

import pytest
from test_faults import needs_root, survived


@partial(needs_root, suite=pytest.mark.long)
def test_every_fault_of_the_store_is_survived():
    rows = survived("store")
    assert len(rows) == 9
