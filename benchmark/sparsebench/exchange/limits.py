"""How large a bundle may be: what is larger is refused before it takes memory."""

from __future__ import annotations

from typing import Final

MIB: Final = 2**20
FILE: Final = 2**30
"""Most bytes of a bundle's file."""
DIRECTORY: Final = 4 * MIB
"""Most bytes of its table of members, which is read as a whole."""
RECORDS: Final = 10_000
"""Most records."""
UNPACKED: Final = 4 * 2**30
"""Most bytes of all members together, unpacked; also of all arrays in them."""
JSON: Final = 256 * MIB
"""Most bytes of all JSON members together, unpacked."""
VALUES: Final = 8_000_000
"""Most values in all JSON members together: each takes some 100 bytes once it is read."""
DEPTH: Final = 32
"""Most levels of lists and objects in each other."""
MANIFEST: Final = 8 * MIB
RECORD: Final = 1 * MIB
ENTRIES: Final = 8 * MIB
SPLIT: Final = 64 * MIB
PREDICTIONS: Final = 256 * MIB
"""Most bytes of one run's predictions; also of its arrays, unpacked."""
ARRAYS: Final = 2**16
"""Most bytes of the table of one run's arrays."""
IMAGES: Final = 1_000_000
"""Most test images of a run."""
CLASSES: Final = 100_000
"""Most classes of a task."""
PROBLEMS: Final = 100
"""Most problems that are listed."""
