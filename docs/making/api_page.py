"""The page of the public names: `cftransfer.__all__` in groups, their docstrings put in by mkdocstrings."""

import ast

from config_keys import ROOT

GROUPS = {
    "Search, ask, measure": ("search", "judge", "ask", "measure", "plan", "noisy_execution", "plausibility"),
    "Results": ("Counterfactuals", "Candidates", "Answers", "Result", "Variances", "TransferabilityRate"),
    "Data": ("table", "arrays", "dataset", "Dataset", "Feature", "FeatureSpace"),
    "Models": ("train", "Model", "StoredLogits", "Classifier"),
    "Errors": ("InputError",),
}


def public() -> list[str]:
    """Return the public names of the package, without importing it."""
    tree = ast.parse((ROOT / "cftransfer" / "__init__.py").read_text(encoding="utf-8"))
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
    return list(ast.literal_eval(values[0]))


def page() -> str:
    """Return the page in Markdown; a public name without a group comes last."""
    rest = tuple(sorted(set(public()) - {name for names in GROUPS.values() for name in names}))
    parts = ["# API\n", "`import cftransfer as cft` gives these names. Nothing is imported before it is used.\n"]
    for title, names in (GROUPS | ({"More": rest} if rest else {})).items():
        parts.append(f"## {title}\n")
        parts += [f"::: cftransfer.{name}\n    options:\n      heading_level: 3\n" for name in names]
    return "\n".join(parts)
