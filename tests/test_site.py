"""The pages that docs/making makes: every key of conf, every method and every public name is there, with its facts.

`make docs` builds the site strictly, which checks links and anchors.
"""

import re
import sys

import pytest
from conftest import ROOT

import cftransfer as cft
from cftransfer.targets import OWN

sys.path.insert(0, str(ROOT / "docs" / "making"))

import api_page
import config_keys
import method_pages
import notebook_page

FILES = sorted(
    path
    for path in config_keys.CONF.rglob("*.yaml")
    if path.parent.relative_to(config_keys.CONF).as_posix() not in config_keys.HYDRAS_OWN
)
HYDRAS = ("hydra.mode", "hydra.sweeper.params.")  # the settings that a named sweep gives to Hydra
INDEX = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
QUESTIONS = (
    "What is a pair?",
    "How do I use my CSV?",
    "Why is the interval so wide?",
    "Which search was used?",
    "How do I ask about my own two models?",
    "What does it cost on a cluster?",
    "Can I trust .99?",
    "What did the paper expect?",
    "How do I add a method?",
    "Where is my W&B run?",
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(config_keys.CONF).as_posix())
def test_every_key_has_a_type_a_default_and_a_reason(path):
    page = config_keys.page()
    for key in config_keys.keys(path):
        if key.name.startswith(HYDRAS):
            continue
        explained = config_keys.original(key)
        assert explained is not None, f"{path.name}: {key.name} has no comment, and no other file explains it"
        assert explained.kind not in ("", "null"), f"{key.name}: add its type to KINDS in docs/making/config_keys.py"
        assert explained.default
        assert explained.reason
        assert f"| `{explained.name}` |" in page


def test_every_group_of_conf_is_on_the_page():
    groups = {path.parent.relative_to(config_keys.CONF).as_posix().replace(".", "") for path in FILES}
    assert groups == set(config_keys.GROUPS)


def test_types_that_are_written_by_hand_are_of_keys_that_there_are():
    assert set(config_keys.KINDS) <= set(config_keys.explained())


def test_types_come_from_the_functions_and_reasons_go_on_below():
    known = config_keys.explained()
    assert known["model.layers"].kind == "whole number"
    assert known["counterfactual.weight"].kind == "number"  # 1 in the file
    assert known["training.optimizer"].kind == "adam, sgd"
    assert known["samples"].default == "1000"
    assert "scontrol must answer" in known["hydra.launcher.signal_delay_s"].reason
    assert known["dataset.drop"].kind == "list of words"


def test_there_is_a_page_of_each_method():
    assert set(method_pages.methods()) == OWN["counterfactual"]


@pytest.mark.parametrize("name", sorted(OWN["counterfactual"]))
def test_a_methods_page_has_its_equation_source_settings_and_cost(name):
    told, page = method_pages.described(name), method_pages.page(name)
    assert len(told["equation"]) > 20
    assert re.search(r"https://(arxiv\.org/abs/\d{4}\.\d{4,5}|doi\.org/10\.)", told["source"])
    assert told["equation"] in page
    assert re.search(r"\[(arXiv|doi):", page)
    settings = config_keys.keys(config_keys.CONF / "counterfactual" / f"{name}.yaml")
    assert all(f"| `{key.name.removeprefix('counterfactual.')}` |" in page for key in settings)
    if name != "imported":
        costs = method_pages.costs(name)
        assert all(costs.values())
        assert all(cell in page for rows in costs.values() for row in rows for cell in row)


def test_every_public_name_is_on_the_page_of_the_api():
    page = api_page.page()
    assert api_page.public() == cft.__all__
    assert all(page.count(f"::: cftransfer.{name}\n") == 1 for name in cft.__all__)


def test_the_notebooks_page_has_every_cell_and_picture():
    page, pictures = notebook_page.page(ROOT / "docs" / "quickstart.ipynb")
    assert page.startswith("# ")
    assert page.count("```python") >= 8
    assert pictures
    assert all(f"]({name})" in page and content.startswith(b"\x89PNG") for name, content in pictures.items())


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_front_page_answers_a_new_users_questions_within_a_click(question):
    (answer,) = re.findall(rf"^\| {re.escape(question)} \| \[[^]]+\]\(([^)]+)\) \|$", INDEX, re.MULTILINE)
    page, _, anchor = answer.partition("#")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    headings = [re.sub(r"[^\w\- ]", "", line).lower().strip() for line in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
    assert not anchor or anchor in [heading.replace(" ", "-") for heading in headings]


@pytest.mark.slow
def test_the_figures_of_the_concepts_are_those_that_the_script_draws(tmp_path, monkeypatch):
    import concept_figures

    monkeypatch.setattr(concept_figures, "FOLDER", tmp_path)
    concept_figures.main()
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == set(re.findall(r"\(concepts/(\w+\.png)\)", page))
    assert drawn == {path.name for path in (ROOT / "docs" / "concepts").iterdir()}
