"""Put checkpoints that ``sparsebench prune`` made into the package, and their entries into ``checkpoints.yaml``.

Every ``<id>.safetensors`` of a folder is taken, with its log. Checkpoints that share their weights with a dense
one (one-shot pruned ones, lottery tickets, CrAM's) are stored as derived from it. Entries of the same ids are replaced;
all others, and the comments above the first, stay as they are. ``--replicate 1`` takes them as further trainings of the
same recipes: ``mini.gmp_s90`` is embedded as ``mini.gmp_s90_r1``, and ``mini.dense_r1`` is its reference.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from common import ROOT, run_script, shown
from sparsebench.common.files import sha256_file, write_bytes, write_text
from sparsebench.models.entries import entry_for_file
from sparsebench.models.formats import sparse_file
from sparsebench.models.loading import load_entry
from sparsebench.registry.names import method_names
from sparsebench.schema import CheckpointError

REGISTRY = ROOT / "checkpoints.yaml"
WEIGHTS = ROOT / "benchmark" / "sparsebench" / "weights"
REFERENCE = "mini.dense"
BASES = {"magnitude": "mini.dense", "lth": "mini.dense", "cram": "mini.cram_dense"}
"""By method, the file that its checkpoints derive from."""

LICENCE = "ImageNet terms (non-commercial research)"
SOURCE = "this project; its model card is in the documentation"


def log_of(path: Path) -> Path:
    """Return the log of the training that made a checkpoint: the one whose name is the longest start of its own.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    logs = [log for log in path.parent.glob("*.log.csv") if path.stem.startswith(log.name.removesuffix(".log.csv"))]
    if not logs:
        raise CheckpointError(f"there is no log of {path.name} beside it", "sparsebench prune writes both")
    return max(logs, key=lambda log: len(log.name))


def embed(path: Path, weights: Path, replicate: int = 0) -> dict[str, Any]:
    """Copy a checkpoint and its log into the package's weights; return its registry entry."""
    raw = sparse_file.read(path)
    base, ending = BASES.get(raw.meta["method"]), f"_r{replicate}" if replicate else ""
    target = weights / f"{path.stem}{ending}.safetensors"
    if base is None or not raw.masks:
        write_bytes(target, path.read_bytes())
    else:
        sparse_file.write(target, raw.state, raw.masks, raw.meta, weights / f"{base}{ending}.safetensors")
    log = log_of(path)
    name = f"{log.name.removesuffix('.log.csv')}{ending}.log.csv"
    write_bytes(weights / name, log.read_bytes())
    return entry(target, raw.meta, name, replicate)


def entry(target: Path, meta: Mapping[str, Any], log: str, replicate: int = 0) -> dict[str, Any]:
    """Return the registry entry of a checkpoint, from what its file says of itself and measures."""
    ending = f"_r{replicate}" if replicate else ""
    recipe, name = meta["recipe"], target.stem.removesuffix(ending)
    found = load_entry(entry_for_file(target))
    dense = meta["method"] == "dense"
    fields: dict[str, Any] = {"method": meta["method"]}
    if dense and name != REFERENCE:
        sibling = name.removesuffix("_dense")
        fields["variant"] = f"{recipe['method']}_twin"
        fields["twin_of"] = (sibling if len(recipe["sparsities"]) == 1 else f"{sibling}_s90") + ending
    fields["arch"] = meta["arch"]
    fields["sparsity"] = meta["sparsity"] or 0
    fields["sparsity_scope"] = meta["sparsity_scope"]
    if not dense:
        fields["sparsity_exact"] = round(found.info.sparsity.scope(meta["sparsity_scope"]), 8)
    fields["distribution"] = meta["distribution"]
    if meta.get("nm"):
        fields["nm"] = meta["nm"]
    if not dense:
        fields["exempt"] = meta["exempt"]
    if name != REFERENCE:
        fields["reference"] = REFERENCE + ending
    if replicate:
        fields["replicate"] = replicate
    fields["file"] = {"path": f"package:weights/{target.name}", "sha256": sha256_file(target)}
    fields["format"] = "sparse"
    upstream = {**meta["upstream"], "classes": len(meta["classes"])}
    steps = _steps(target.with_name(log))
    if steps:
        upstream |= {"epochs": recipe["epochs"], "steps": steps}
    fields["upstream"] = upstream
    fields["training"] = {"command": meta["command"], "log": f"package:weights/{log}"}
    return fields | {"licence": LICENCE, "source": SOURCE}


def _method(name: str) -> str:
    """Return the method that a checkpoint's id names."""
    return name.partition(".")[2].partition("_")[0]


def _steps(log: Path) -> int:
    """Return the number of optimizer steps of a training, from its log."""
    lines = log.read_text().splitlines()
    return int(lines[-1].split(",")[lines[0].split(",").index("step")]) if len(lines) > 1 else 0


def dump(name: str, fields: Mapping[str, Any]) -> str:
    """Return an entry as YAML: a line per field, small mappings in braces."""
    lines = [f"{name}:"]
    for key, value in fields.items():
        if key == "training":
            lines += [f"  {key}:", *(f"    {k}: {v}" for k, v in value.items())]
        elif isinstance(value, dict | list):
            lines.append(
                f"  {key}: " + yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip()
            )
        else:
            lines.append(f"  {key}: {yaml.safe_dump(value, width=10**6).splitlines()[0]}")
    return "\n".join(lines) + "\n"


def merge(text: str, entries: Mapping[str, str]) -> str:
    """Return a registry's text with entries replaced where they stood, and new ones after the last of their kind."""
    parts = [_split_off_tail(part) for part in re.split(r"(?m)^(?=[A-Za-z0-9])", text)]
    names = [body.partition(":")[0] for body, _ in parts]
    left = dict(entries)
    bodies = [left.pop(name, body).rstrip("\n") for name, (body, _) in zip(names, parts, strict=True)]
    for name, block in left.items():
        kind = name.partition(".")[0] + "."
        place = max((i for i, other in enumerate(names) if other.startswith(kind)), default=len(names) - 1)
        bodies[place] = "\n\n".join(filter(None, [bodies[place], block.rstrip("\n")]))
    return "".join(body + tail for body, (_, tail) in zip(bodies, parts, strict=True)).rstrip("\n") + "\n"


def _split_off_tail(part: str) -> tuple[str, str]:
    """Return an entry's text, and what follows it: empty lines, and comments about the next."""
    found = re.search(r"(?:\n(?:#[^\n]*)?)*\Z", part)
    at = len(part) if found is None else found.start()
    return part[:at], part[at:]


def main(argv: Sequence[str] | None = None) -> int:
    """Embed every checkpoint of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, help="what sparsebench prune wrote")
    parser.add_argument("--leave", nargs="*", default=[], metavar="ID", help="checkpoints to leave out")
    parser.add_argument("--replicate", type=int, default=0, metavar="N", help="which training of their recipes")
    arguments = parser.parse_args(argv)
    paths = sorted(p for p in arguments.folder.glob("*.safetensors") if p.stem not in arguments.leave)
    paths.sort(key=lambda p: not p.stem.endswith("dense"))  # what others derive from comes first
    entries: dict[str, dict[str, Any]] = {}
    for path in paths:
        name = f"{path.stem}_r{arguments.replicate}" if arguments.replicate else path.stem
        made = entries[name] = embed(path, WEIGHTS, arguments.replicate)
        size = (WEIGHTS / f"{name}.safetensors").stat().st_size
        print(f"{name}: {size:,} bytes, top-1 {made['upstream']['top1']:.2%}")
    methods = list(method_names())
    order = sorted(entries, key=lambda name: (not name.startswith(REFERENCE), methods.index(_method(name)), name))
    blocks = {name: dump(name, entries[name]) for name in order}
    write_text(REGISTRY, merge(REGISTRY.read_text(), blocks))
    total = sum(p.stat().st_size for p in WEIGHTS.iterdir())
    print(f"{shown(REGISTRY)}: {len(entries)} entries; {shown(WEIGHTS)}: {total / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
