"""What the tests of exported networks share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Done:
    """A tasks folder, a results folder, and the table of its runs."""

    tasks: Path
    results: Path
    table: pd.DataFrame

    def key(self, way: str) -> str:
        """Return the record key of the run of a probe, or of full mode."""
        column = "mode" if way == "full" else "probe"
        rows = self.table[(self.table[column] == way) & (self.table["seed"] == 0)]
        return str(rows["record_key"].iloc[0])
