"""Check an installed sparsebench in an empty folder: it is not a checkout's, loads a checkpoint, and runs a cell.

``--kernels yes|no`` also asserts whether the compiled code is there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks; an assertion says which one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", choices=("yes", "no"))
    wanted = parser.parse_args(argv).kernels
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SPARSEBENCH_CACHE"] = str(Path(folder, "cache"))
        os.chdir(folder)
        import sparsebench
        from sparsebench.common.native.build import LIBRARIES

        place = Path(sparsebench.__file__).resolve()
        assert not place.is_relative_to(ROOT), f"{place} is the checkout's"
        there = all(library.path.exists() for library in LIBRARIES)
        assert wanted is None or there == (wanted == "yes"), f"compiled code is {'there' if there else 'missing'}"
        backbone = sparsebench.load("mini.acdc_s90")
        kept = sum(int(mask.sum()) for mask in backbone.masks.values())
        total = sum(mask.numel() for mask in backbone.masks.values())
        assert 0.89 < 1 - kept / total < 0.91, f"mini.acdc_s90 keeps {kept} of {total} weights"
        runs = sparsebench.run(
            checkpoint="mini.acdc_s90",
            task="digits",
            mode="linear",
            seed=0,
            engine="auto",
            results=Path(folder, "runs"),
        )
        assert (runs["status"] == "ok").all(), runs
        accuracy = float(runs.loc[runs["checkpoint"] == "mini.acdc_s90", "accuracy"].iloc[0])
        assert 0.6 < accuracy < 0.75, f"digits: {accuracy}"
    code = "compiled code" if there else "no compiled code"
    print(f"sparsebench {sparsebench.__version__}, {code}, Python {sys.version.split()[0]}: digits {accuracy:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
