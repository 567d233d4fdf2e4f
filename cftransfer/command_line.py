"""The words that start a command here: `python transfer.py` in a clone, `cftransfer transfer` where it is installed."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def typed_command(name: str) -> list[str]:
    """Return the words with which a user starts `transfer` or `train` here."""
    in_clone = (ROOT / f"{name}.py").is_file() and (ROOT / "conf" / f"{name}.yaml").is_file()
    return ["python", f"{name}.py"] if in_clone else ["cftransfer", name]
