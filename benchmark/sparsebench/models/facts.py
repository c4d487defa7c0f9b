"""What a plan needs to know of a checkpoint, kept by the content of its files: torch is imported where it isn't kept.

Facts are what :func:`.loading.load_entry` found, checks included, so they are as good as loading the file again, while
neither the file nor the entry nor what reads them has changed: all of these are in the key. Those of the checkpoints
that come with the package are in it, ``weights/facts.json``; a test asserts that they are true.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .. import extensions
from ..caching import read_document, read_documents, write_document
from ..common.files import read_regular, sha256_file
from ..common.paths import package_file
from ..common.safetensors_file import read_metadata
from ..downloads import locate
from ..registry.own_tasks import other_classes
from ..schema import Checkpoint, InputError, Preprocess, Task, digest
from ..schema.base import Lenient

if TYPE_CHECKING:
    from .backbone import Backbone

FACTS_VERSION = 2
"""Raised when a change of what reads, checks or counts a checkpoint can change a fact; older ones are not used then."""

EMBEDDED = "weights/facts.json"
STANDALONE = frozenset({"mini", "mobilenet_v1"})
"""Architectures that neither timm nor torchvision build (see :data:`.architectures.STANDALONE`)."""

_LABELS = {
    "id", "variant", "reference", "twin_of", "replicate", "upstream", "training", "licence", "source", "notes", "file",
    "base",
}  # fmt: skip
_SINGLE = frozenset({".pth", ".pt", ".safetensors", ".bin", ".onnx"})  # endings of checkpoints that are one file
_KIND = "facts"


class LayerFact(Lenient):
    """A prunable layer: its name, how many weights it has, and how many its mask holds at zero."""

    name: str
    weights: int
    held: int


class Facts(Lenient):
    """What a plan needs to know of a checkpoint; see :class:`.backbone.BackboneInfo` for what each is.

    ``many_unheld`` says that more weights of a sparse checkpoint are zero without a mask than chance leaves.
    ``classes`` and ``head_sha256`` are the head's, None where the file has none.
    ``layers`` are the prunable ones, from input to output; none in facts that an older version kept.
    """

    arch: str
    weights_sha256: str
    mask_sha256: str
    sparsity_measured: float
    unheld: int
    unheld_fraction: float
    many_unheld: bool
    packed_bytes: int
    preprocess: Preprocess
    classes: int | None = None
    head_sha256: str | None = None
    layers: tuple[LayerFact, ...] = ()

    @classmethod
    def of(cls, backbone: Backbone) -> Facts:
        """Return the facts of a loaded backbone."""
        from .masks import DENSE_BELOW

        info = backbone.info
        return cls(
            arch=info.arch,
            weights_sha256=info.weights_sha256,
            mask_sha256=info.mask_sha256,
            sparsity_measured=info.sparsity_measured,
            unheld=info.sparsity.unheld,
            unheld_fraction=info.sparsity.unheld_fraction,
            many_unheld=info.checkpoint.method != "dense" and info.sparsity.unheld_fraction >= DENSE_BELOW,
            packed_bytes=info.packed_bytes,
            preprocess=backbone.preprocess,
            classes=info.num_classes,
            head_sha256=info.head_sha256,
            layers=tuple(
                LayerFact(name=layer.name, weights=layer.weights, held=layer.held) for layer in info.sparsity.layers
            ),
        )


def known_facts(checkpoint: Checkpoint, cache_dir: Path | None) -> Facts | None:
    """Return the facts of a checkpoint whose files were seen before; None where they weren't.

    Parameters
    ----------
    checkpoint : Checkpoint
        An entry.
    cache_dir : Path or None
        The root of the caches.

    Raises
    ------
    CheckpointError
        If its file is missing, can't be read, or is not the registered one.
    """
    return _known(facts_key(checkpoint), cache_dir)


def _known(key: Mapping[str, Any] | None, cache_dir: Path | None) -> Facts | None:
    if key is None:
        return None
    found = embedded_facts().get(digest(key))
    if found is None:
        found = read_document(cache_dir, _KIND, key)
    try:
        return None if found is None else Facts.model_validate(found)
    except ValidationError:
        return None


def load_facts(checkpoint: Checkpoint, cache_dir: Path | None, *, load: bool = False) -> tuple[Facts, Backbone | None]:
    """Return the facts of a checkpoint, and its backbone where it had to be loaded for them, or with ``load``.

    A checkpoint that is loaded with a warning isn't remembered, so that the warning comes again.

    Raises
    ------
    CheckpointError
        If it can't be used.
    """
    key = facts_key(checkpoint)
    known = _known(key, cache_dir)
    if known is not None and not load:
        return known, None
    from .loading import load_entry

    with remembering_warnings() as said:
        backbone = load_entry(checkpoint)
    facts = known or Facts.of(backbone)
    if key is not None and known is None and not said:
        write_document(cache_dir, _KIND, key, facts.model_dump(mode="json"))
    return facts, backbone


def warn_unheld(checkpoint: Checkpoint, facts: Facts) -> None:
    """Warn of more zeros than chance leaves in a sparse checkpoint, where no mask holds them."""
    if facts.many_unheld:
        share = f"{facts.unheld:,} weights are zero ({facts.unheld_fraction:.1%} of those kept)"
        text = f"checkpoint {checkpoint.id}: {share} that no mask holds, and full mode trains them; inspect shows where"
        warnings.warn(text, stacklevel=3)


def check_head(checkpoint: Checkpoint, facts: Facts, task: Task, n_classes: int) -> None:
    """Check that a checkpoint has a head, of a task's classes.

    Raises
    ------
    InputError
        If it hasn't.
    """
    if facts.classes is None or facts.head_sha256 is None:
        raise InputError(
            f"checkpoint {checkpoint.id} has no head: its file holds features alone",
            "mode upstream needs the file with its classifier; --mode linear trains one",
        )
    if facts.classes != n_classes:
        raise other_classes(checkpoint, task, facts.classes, n_classes)


@contextmanager
def remembering_warnings() -> Iterator[list[str]]:
    """Yield a list that gets the texts of the warnings to users in the block; they are given after it."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            yield texts
        finally:
            texts += [str(one.message) for one in said if issubclass(one.category, UserWarning)]
            given = list(said)
    for one in given:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def file_key(path: Path, arch: str | None, weights: str | None, format: str) -> dict[str, Any] | None:
    """Return all that the description of a user's own file depends on; None where it isn't one file."""
    if not path.is_file() or path.suffix not in _SINGLE:
        return None
    return {
        "version": FACTS_VERSION,
        "described": str(path.resolve()),
        "files": [sha256_file(file) for file in (path, *_beside(path))],
        "arch": arch,
        "weights": weights,
        "format": format,
        "libraries": _libraries(),
    }


def _libraries() -> dict[str, str]:
    formats = ", ".join(extensions.names("formats"))  # another package's may recognise a file, too
    return {"formats": formats, **{name: version(name) for name in ("timm", "torchvision")}}


def facts_key(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return all that a checkpoint's facts depend on: contents, what reads them, and what the entry says.

    None where that can't be known without reading the checkpoint: where it isn't one file.
    """
    hashes = []
    for entry in checkpoint.files():
        path = locate(entry)
        if path.suffix not in _SINGLE:
            return None
        hashes += [sha256_file(file) for file in (path, *_beside(path))]
    return {
        "version": FACTS_VERSION,
        "files": hashes,
        "entry": digest(checkpoint.model_dump(mode="json", exclude=_LABELS)),
        "libraries": {} if checkpoint.arch in STANDALONE else _libraries(),
    }


def _beside(path: Path) -> list[Path]:
    """Return the other files that are read with a checkpoint's: what it derives from, and a description."""
    found = [path.with_name("config.json")]
    if path.suffix == ".safetensors":
        try:
            base = json.loads(read_metadata(path).get("sparsebench", "{}")).get("base", {})["file"]
            found.append(path.with_name(str(base)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
    return [file for file in found if file.is_file()]


def facts_by_content(cache_dir: Path | None) -> dict[tuple[str, str], Facts]:
    """Return all facts that are known on this machine, by the hashes of weights and mask; torch isn't imported.

    Parameters
    ----------
    cache_dir : Path or None
        The root of the caches.
    """
    found: dict[tuple[str, str], Facts] = {}
    for value in (*read_documents(cache_dir, _KIND), *embedded_facts().values()):
        try:
            facts = Facts.model_validate(value)
        except ValidationError:
            continue
        found[facts.weights_sha256, facts.mask_sha256] = facts
    return found


@cache
def embedded_facts() -> Mapping[str, Any]:
    """Return the facts that come with the package, by the digests of their keys."""
    try:
        found: dict[str, Any] = json.loads(read_regular(package_file(EMBEDDED)))
    except (OSError, ValueError):
        return {}
    return found
