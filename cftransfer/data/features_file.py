"""The features of a table as YAML: written beside a result, edited by hand, and read again."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cftransfer.data.feature import Feature
from cftransfer.data.inference import settings_of
from cftransfer.errors import InputError

HEAD = """\
# The features of the inputs. To change them, edit this file and set dataset.features=features.yaml
# kind: continuous | integer | binary | ordinal | categorical. low, high: the range, in original units.
# mutable: whether a person can change it; direction: any | up | down. scale: linear | log1p.
"""


class _Loader(yaml.SafeLoader):
    """YAML in which yes, no, on and off are words, as in tables; true and false are truth values."""


NOT_WORDS = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag not in NOT_WORDS]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|false|False)$"), list("tTfF"))


def _mapping(loader: _Loader, node: yaml.MappingNode, *, deep: bool = False) -> dict[Any, Any]:
    """Refuse a repeated key: its first value would be lost silently."""
    keys = [loader.construct_object(key, deep=deep) for key, _ in node.value]
    if twice := [key for place, key in enumerate(keys) if key in keys[:place]]:
        raise yaml.YAMLError(f"{twice[0]} stands in it twice")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:map", lambda loader, node: _mapping(loader, node, deep=True))


def features_yaml(features: Sequence[Feature]) -> str:
    """Return the features as YAML; `read_features` reads the same features from it."""
    return HEAD + "".join(_entry(feature) for feature in features)


def _entry(feature: Feature) -> str:
    settings = settings_of(feature)
    return yaml.safe_dump({feature.name: settings}, sort_keys=False, allow_unicode=True, width=float("inf"))


def read_features(path: Path) -> dict[str, dict[str, Any]]:
    """Return the settings in a YAML file by feature; InputError, naming the file, if it cannot be read."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise InputError(f"dataset.features={path}: cannot be read ({reason})") from error
    if not isinstance(content, dict) or not all(isinstance(settings, dict) for settings in content.values()):
        raise InputError(f"dataset.features={path}: must have a line per feature, as in age: {{kind: integer}}")
    return {str(name): settings for name, settings in content.items()}
