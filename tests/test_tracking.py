"""Small parts of tracking; test_commands.py reads whole W&B runs back."""

import subprocess

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cftransfer import tracking


def test_nested_settings_are_flat():
    assert tracking.flat({"model": {"layers": 4, "more": {"x": None}}, "seed": 0, "reference": {}}) == {
        "model.layers": 4,
        "model.more.x": None,
        "seed": 0,
        "reference": {},
    }


@given(
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3))
)
def test_no_setting_is_lost(config):
    def leaves(value):
        return sum(map(leaves, value.values())) if isinstance(value, dict) else 1

    assert len(tracking.flat(config)) == leaves(config)


def test_git_state_is_the_commit_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "__file__", str(tmp_path / "tracking.py"))
    assert tracking.git_state() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    state = tracking.git_state()
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "new").write_text("")
    assert tracking.git_state()["dirty"] is True


class Run:
    """What of a W&B run the history needs."""

    def __init__(self):
        self.defined, self.logged = {}, []

    def define_metric(self, name, step_metric=None, **_):
        self.defined[name] = step_metric

    def log(self, row, step):
        self.logged.append((step, row))


def test_history_is_over_its_own_step():
    run = Run()
    tracking.log_history(run, pd.DataFrame({"extra_epochs": [1, 2], "rate": [0.5, 0.6]}), step="extra_epochs")
    assert run.defined == {"extra_epochs": None, "rate": "extra_epochs"}
    assert [step for step, _ in run.logged] == [row["extra_epochs"] for _, row in run.logged] == [1, 2]
