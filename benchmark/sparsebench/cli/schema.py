"""``sparsebench schema``: the JSON schema of a kind of YAML file."""

from __future__ import annotations

import argparse
import json

from ..api.file_schemas import file_schema


def main(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(file_schema(arguments.kind), indent=2, ensure_ascii=False))
    return 0
