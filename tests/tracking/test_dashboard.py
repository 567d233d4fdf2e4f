"""The dashboard's words; test_server.py saves one."""

import pytest

from cftransfer.errors import InputError
from cftransfer.tracking.dashboard import dashboard


@pytest.mark.parametrize(
    "given",
    [{"project": "a/b"}, {"project": ""}, {"entity": ""}]
    + [{"knob": knob} for knob in ("", "model..layers", ".layers", "layers.", "model.layers.value", "a b", "1")],
)
def test_the_dashboard_refuses_what_would_draw_nothing(given):
    words = {"project": "p", "entity": None, "knob": "model.layers", "name": "n", "dry_run": True} | given
    with pytest.raises(InputError, match=f"^--{next(iter(given))}"):
        dashboard(**words)
