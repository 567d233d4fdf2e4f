"""Files as the Census Bureau publishes them, with made-up persons."""

from pathlib import Path

import numpy as np
import pandas as pd

from cftransfer.data.acs_employment import BLANK, CODES

# fmt: off
COLUMNS = [
    "AGEP", "SCHL", "MAR", "RELP", "DIS", "ESP", "CIT", "MIG", "MIL",
    "ANC", "NATIVITY", "DEAR", "DEYE", "DREM", "SEX", "RAC1P", "ESR",
]
# fmt: on


def persons(rows: int, *, seed: int = 0, **fixed: object) -> pd.DataFrame:
    """Persons of any code in any column, blanks among them; `fixed` columns hold the given value."""
    generator = np.random.default_rng(seed)
    drawn = {name: generator.choice(list(CODES[name]), size=rows) for name in COLUMNS}
    table = pd.DataFrame({"RT": "P", "SERIALNO": [f"2018{row:09}" for row in range(rows)], "ST": 36, **drawn})
    return table.replace(BLANK, pd.NA).assign(**fixed)


def csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def put(folder: Path, table: pd.DataFrame | str, *, name: str = "2018/1-Year/psam_p36.csv") -> Path:
    """Write a file where folktables looks for it under `folder`, New York's of 2018 by default."""
    path = folder / "folktables" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table if isinstance(table, str) else csv(table))
    return path
