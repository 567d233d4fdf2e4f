"""The words that start a command: `python transfer.py` in a clone, `cftransfer transfer` in an installation."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def typed_command(name: str) -> list[str]:
    """Return the words that start `transfer` or `train` here."""
    in_clone = (ROOT / f"{name}.py").is_file() and (ROOT / "conf" / f"{name}.yaml").is_file()
    return ["python", f"{name}.py"] if in_clone else ["cftransfer", name]
