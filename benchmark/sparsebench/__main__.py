"""``python -m sparsebench``."""

import sys

from .cli import main

sys.exit(main())
