"""``export-results``: a results folder as one bundle, without what it says about a machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ..common.files import sha256_file
from ..common.version import __version__
from ..registry import Registry, load_registry
from ..schema import Checkpoint, InputError, ResultsError, RunRecord, RunSpec
from ..store import Store
from ..store.plans import read_plans
from ..store.recordfile import to_json
from . import limits, members
from .private import cleaned, cleaned_tree, paths_in
from .splits import shown
from .tasks import Opened

_DATE = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_STORED = (".npz",)
LABELS = (
    "method", "variant", "sparsity", "sparsity_scope", "distribution", "nm", "reference", "twin_of", "replicate",
)  # fmt: skip
"""What a registry entry and a run's labels both say of a checkpoint."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was written: its file and sha256, how many records and predictions it has, and what it lacks."""

    path: Path
    sha256: str
    records: int
    predictions: int
    notes: tuple[str, ...]


def export_results(
    results: Path,
    out: Path,
    *,
    logits: bool = False,
    registry_files: Sequence[Path] = (),
    tasks_dirs: Sequence[Path] = (),
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> Exported:
    """Write the records of a results folder as a bundle; equal results give equal bytes.

    Records that came from other bundles stay behind. So do scores on further test sets, trained heads and weights, and
    the traceback of a failure.

    Parameters
    ----------
    results : Path
        The results folder.
    out : Path
        The zip file, which must not be there.
    logits : bool
        Carry test logits, where they were kept.
    registry_files, tasks_dirs : sequence of Path
        Where checkpoints and tasks of one's own are described.
    data_dir : Path, optional
        Where data sets live: for what shows that the labels are a split's.
    cache_dir : Path, optional
        Where the results of slow checks of data sets may be remembered.

    Raises
    ------
    ResultsError
        If there is no record, predictions are damaged, or the file can't be written.
    InputError
        If ``out`` is there, or an identity (a protocol, a name) holds a path of this machine.
    """
    if out.exists() or out.is_symlink():
        raise InputError(f"{str(out)!r} is there already", "choose another name for --out, or remove it")
    store = Store(results)
    found = store.read() if store.records_dir.is_dir() else []
    own = [record for record in found if record.origin is None]
    if not own:
        raise ResultsError(f"{str(results)!r} holds no record of your own", "give a results folder: --results DIR")
    if len(own) > limits.RECORDS:
        raise InputError(f"{str(results)!r} has {len(own)} records, a bundle has at most {limits.RECORDS}")
    registry = load_registry(registry_files, tasks_dirs, data_dir)
    notes = []
    if others := len(found) - len(own):
        notes.append(f"{others} records that came from other bundles stay behind")
    opened = Opened(registry, data_dir, cache_dir)
    entries = _entries(own, store, registry)
    count = 0
    with _writing(out) as archive:
        archive.add(members.ENTRIES, _json({"checkpoints": [entry for _, entry in sorted(entries.items())]}))
        for record in own:
            clean, data = _carried(record, store, logits)
            _refuse_paths(clean)
            archive.add(members.record_name(record.record_key), to_json(clean))
            if data is not None:
                archive.add(members.predictions_name(record.record_key), data)
                count += 1
        for fingerprint, task in sorted({(r.spec.split_sha256, r.spec.task) for r in own}):
            data_here = opened.data(task)
            if data_here is None or data_here.split_sha256 != fingerprint:
                notes.append(f"task {task}: its images aren't here, so the bundle can't show that its labels are right")
            elif members.split_name(fingerprint) not in archive.hashes:
                archive.add(members.split_name(fingerprint), _json(shown(data_here)))
        archive.finish()
    if without := sum(record.status == "ok" for record in own) - count:
        notes.append(f"{without} finished runs kept no predictions, so their scores can't be recomputed")
    return Exported(out, sha256_file(out), len(own), count, tuple(notes))


def _carried(record: RunRecord, store: Store, logits: bool) -> tuple[RunRecord, bytes | None]:
    """Return a record as a bundle carries it, and its predictions' bytes, if it kept any."""
    failure = record.failure
    if failure is not None:
        failure = failure.model_copy(update={"traceback": "", "message": cleaned(failure.message)})
    changes: dict[str, Any] = {
        "failure": failure,
        "tests": (),
        "weights_file": None,
        "head_file": None,
        "predictions": None,
        "predictions_sha256": None,
        "environment": cleaned_tree(record.environment),
    }
    data = None
    if record.predictions is not None and record.status == "ok":
        kept = store.predictions(record)
        data = (kept if logits else kept.without_logits()).to_bytes()
        name = members.predictions_name(record.record_key)
        changes |= {"predictions": name, "predictions_sha256": hashlib.sha256(data).hexdigest()}
    return record.model_copy(update=changes), data


def _refuse_paths(record: RunRecord) -> None:
    for place, text in paths_in(record.model_dump(mode="json")):
        raise InputError(
            f"the run {record.record_key} holds a path of a machine: {place} is {text!r}",
            "run it with a setting or name that has none",
        )


def _entries(records: Sequence[RunRecord], store: Store, registry: Registry) -> Mapping[str, dict[str, Any]]:
    """Return the registry entries of the checkpoints that records name, cleaned, by id."""
    planned = {
        group.checkpoint.id: group.checkpoint for plan in read_plans(store.plans_dir) for group in plan.groups
    }  # the newest plan comes last
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        spec = record.spec
        if spec.checkpoint in found:
            continue
        known = [registry.checkpoints.get(spec.checkpoint), planned.get(spec.checkpoint)]
        entry = next((one for one in known if one is not None and _describes(one, spec)), None) or _minimal(spec)
        found[spec.checkpoint] = _clean_entry(entry)
    return found


def _describes(entry: Checkpoint, spec: RunSpec) -> bool:
    return all(getattr(entry, name) == getattr(spec, name) for name in LABELS)


def _minimal(spec: RunSpec) -> Checkpoint:
    """Return what a run itself says of its checkpoint, as an entry."""
    labels = {name: getattr(spec, name) for name in LABELS}
    return Checkpoint.model_validate({"id": spec.checkpoint, "arch": spec.arch, **labels, "file": {"path": "unknown"}})


def _clean_entry(entry: Checkpoint) -> dict[str, Any]:
    """Return an entry's fields without paths of a machine: of a file of one's own the name alone."""
    fields = entry.model_dump(mode="json", exclude_none=True)
    for name in ("file", "base"):
        if name in fields and not fields[name]["path"].startswith(("package:", "python:", "cache:")):
            fields[name]["path"] = PurePath(fields[name]["path"].replace("\\", "/")).name or "unknown"
    cleaned_fields: dict[str, Any] = cleaned_tree(fields)
    return cleaned_fields


def _json(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n").encode()


class _Archive:
    """A zip file that is being written, and the hashes of what is in it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, self.hashes = archive, dict[str, dict[str, Any]]()

    def add(self, name: str, data: bytes) -> None:
        """Write a member."""
        self.hashes[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self._write(name, data)

    def finish(self) -> None:
        """Write the manifest."""
        manifest = {"format": members.FORMAT, "version": members.VERSION, "sparsebench": __version__}
        self._write(members.MANIFEST, _json(manifest | {"members": self.hashes}))

    def _write(self, name: str, data: bytes) -> None:
        info = zipfile.ZipInfo(name, _DATE)
        info.create_system, info.external_attr = 3, _FILE_MODE
        info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
        self._archive.writestr(info, data)


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[_Archive]:
    """Yield an archive that becomes the file ``out`` once it is whole; otherwise nothing is left."""
    temporary = out.with_name(f".{out.name[:40]}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(temporary, "x") as archive:
                yield _Archive(archive)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ResultsError(f"can't write {str(out)!r}: {why}", "choose another place with --out") from error
