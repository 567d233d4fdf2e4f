"""The check of prose: each tic is found where it stands, and good English and code are left alone."""

import prose
import pytest

TICS = {
    "what": "What is not possible is projected.",
    "whose": "A setting whose name is a secret.",
    "of_which": "Points of which the base is sure.",
    "is_none": "A damaged one is none of ours.",
    "anew": "It is trained anew.",
    "comma_too": "Integers move, too.",
    "else": "It is read, else it is made.",
    "opens_with_of": "They are read. Of images, only two kinds are decoded.",
    "who": "Whoever waits for a lock holds none.",
    "mend": "A review's finds were mended.",
    "lest": "It is renamed lest it be lost.",
    "is_told": "W&B is told of the job.",
    "program_asks": "The job asks for two cores.",
    "that_one": "A lock of that one.",
    "an_own": "A model in an own package.",
}
GOOD = (
    "What does a lock hold?",
    "The error says what to do.",
    "The page shows what changed.",
    "There is no file here, and there are none elsewhere.",
    "It is no longer than before, and nothing else is read.",
    "Of course it is.",
    "The references are asked; the share that agree is printed.",
    "Too many rows, and too long.",
    "A recommendation for softwhatever",
)


def found(text: str, path: str = "page.md") -> list[str]:
    return [name for _, name, _ in prose.hits(path, text)]


def test_every_tic_has_an_example_here():
    assert set(TICS) == set(prose.TICS)


@pytest.mark.parametrize("name", TICS)
def test_a_tic_is_found_once(name):
    assert found(TICS[name]) == [name]


@pytest.mark.parametrize("text", GOOD)
def test_good_english_is_left_alone(text):
    assert found(text) == []


def test_code_and_addresses_are_not_prose():
    assert found("`what` and ``whose`` at https://a.b/whose, [here](whose.md)\n\n```bash\nmake else\n```\n") == []
    assert found("```bash\nmake else\n```\nIt is read, else made.") == ["else"]


def test_a_tic_across_two_lines_stands_where_it_ends():
    assert prose.hits("page.md", "One line,\ntoo, and\nmore.")[0][:2] == (2, "comma_too")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("cftransfer/a.py", [(1, "whose"), (2, "anew"), (3, "mend")]), ("tests/a.py", [(1, "whose"), (2, "anew")])],
)
def test_docstrings_and_comments_are_read_and_strings_where_they_are_for_users(path, expected):
    text = '"""Models whose seeds differ."""\nx = 1  # made anew\nprint(f"{x}: mend it")\nwhose = "whose"\n'
    assert [hit[:2] for hit in prose.hits(path, text)] == expected


@pytest.mark.parametrize("path", ["conf/a.yaml", "Makefile", "pyproject.toml"])
def test_comments_of_configs_are_read(path):
    assert prose.hits(path, "a: whose  # a name\nb: 1  # trained anew\n")[0][:2] == (2, "anew")
    assert len(prose.hits(path, "a: whose  # a name\nb: 1  # trained anew\n")) == 1


def test_a_hash_inside_a_value_is_not_a_comment():
    assert prose.hits("conf/a.yaml", "a: 'whose#x whose'  # fine\nb: '#'  # made anew\n")[0][:2] == (2, "anew")


def test_comments_of_several_lines_are_one_text():
    assert found("# A line that ends,\n# too.\n", "conf/a.yaml") == ["comma_too"]


def test_templates_are_read_without_their_statements():
    assert found("<p title='whose'>{{ whose }} made anew {% if whose else %}</p>", "page.html.j2") == ["anew"]


def test_markdown_lines_have_120_columns_outside_tables_and_code():
    long = "word " * 24 + "word"
    assert found(f"{long}\n") == ["long_line"]
    assert found(f"| {long} |\n") == []
    assert found(f"```\n{long}\n```\n") == []
    assert found("x" * 130) == []  # it cannot be broken
    assert found(long, "docs/results/made.md") == []


@pytest.mark.skipif(not (prose.ROOT / ".git").exists(), reason="not a clone")
def test_all_tracked_prose_is_read():
    assert {"README.md", "SECURITY.md", "conf/spec.yaml", "docs/results/images.md"} <= set(prose.working_tree([]))


def test_a_hit_is_a_line_and_the_exit_status_one(capsys, monkeypatch):
    monkeypatch.setattr(prose, "working_tree", lambda _: {"page.md": "Fine.\n\nMade anew.\n"})
    monkeypatch.setattr("sys.argv", ["prose.py"])
    assert prose.main() == 1
    said = capsys.readouterr()
    assert said.out == "page.md:3: anew: Fine. Made anew.\n"
    assert said.err.startswith("anew: ")
    monkeypatch.setattr(prose, "working_tree", lambda _: {"page.md": "Fine.\n", "docs/whose.png": ""})
    assert prose.main() == 0
