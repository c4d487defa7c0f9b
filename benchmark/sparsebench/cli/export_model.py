"""``sparsebench export-model``: the network that a run trained, with its head, as files."""

from __future__ import annotations

import argparse


def main(arguments: argparse.Namespace) -> int:
    """Write the folder, and say what to do with it."""
    from ..api.exporting import export

    folder = export(
        arguments.run,
        arguments.results,
        arguments.out,
        onnx=arguments.onnx,
        opset=arguments.opset,
        registry_files=arguments.registry,
        tasks_dirs=arguments.tasks_dir,
        data_dir=arguments.data,
    )
    print(f"written: {', '.join(sorted(path.name for path in folder.iterdir()))} in {folder}")
    print(f"use it: sparsebench predict {folder} FOLDER_OF_IMAGES")
    return 0
