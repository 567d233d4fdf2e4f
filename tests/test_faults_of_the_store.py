"""Full disks, damage, closed folders, wrong clocks and other users, done to the store of real jobs."""

from test_faults import needs_root, survived


@needs_root
def test_every_fault_of_the_store_is_survived():
    rows = survived("store")
    assert len(rows) == 9
