"""Fetch the tables of a data set from the Hugging Face hub, resumed where they were left, each checked by its hash."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from ...common.files import write_text
from ...common.progress import Progress
from ...downloads import Fetcher, offline_reason
from ...schema import Checkpoint, CheckpointError, DatasetError, FileSource, Task, canonical_json
from .hub import MANIFEST, HubOptions, hub_folder, tables_in
from .options import parse_options


def fetch_tables(task: Task, data_dir: Path, progress: Progress | None = None) -> Path:
    """Fetch a task's tables, unless they are there; return their folder.

    Parameters
    ----------
    task : Task
        The task.
    data_dir : Path
        Where data sets live.
    progress : callable, optional
        ``progress(done, total)`` in bytes, over all tables.

    Raises
    ------
    DatasetError
        If the hub can't be asked, has no such tables, or one can't be fetched.
    """
    options = parse_options(HubOptions, task)
    folder = hub_folder(task, options, data_dir)
    try:
        tables_in(task, options, folder)
    except DatasetError:
        pass
    else:
        return folder
    commit, files = _listed(task, options)
    chosen = [name for split in options.splits for name in options.files_of(split, sorted(files))]
    if not all(options.files_of(split, sorted(files)) for split in options.splits):
        seen = ", ".join(sorted(files)[:5]) or "none"
        raise DatasetError(
            f"task {task.id!r}: {options.hub} has no tables of {' and '.join(options.splits.values())}; it has: {seen}",
            hint="name them: options: {splits: {train: NAME, test: NAME}}, or revision: refs/convert/parquet",
        )
    manifest = {"hub": options.hub, "revision": options.revision, "commit": commit}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MANIFEST, canonical_json(manifest | {"files": {name: files[name][0] for name in chosen}}))
    except OSError as error:
        raise DatasetError(f"{folder}: can't be written: {error.strerror}", hint="name another with --data") from error
    total, done = sum(files[name][0] for name in chosen), 0
    for name in chosen:
        size, sha256 = files[name]
        _fetch(task, options, folder / name, name, commit, size, sha256, _after(progress, done, total))
        done += size
    return folder


def _after(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _listed(task: Task, options: HubOptions) -> tuple[str, dict[str, tuple[int, str | None]]]:
    """Return the commit of the revision, and the tables there: size and sha256 by name."""
    from huggingface_hub import HfApi

    if reason := offline_reason():
        raise DatasetError(f"task {task.id!r}: {options.hub} isn't asked for: {reason}", hint="get the tables by hand")
    api = HfApi(endpoint=_endpoint())
    try:
        info = api.dataset_info(options.hub, revision=options.revision)
        commit = str(info.sha)
        entries: list[Any] = list(api.list_repo_tree(options.hub, recursive=True, revision=commit, repo_type="dataset"))
    except Exception as error:  # the hub's client has many of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DatasetError(
            f"task {task.id!r}: the tables of {options.hub} can't be listed: {reason}",
            hint="check its name and revision, or try again later",
        ) from error
    files = {}
    for entry in entries:
        path = PurePosixPath(entry.path)
        safe = not path.is_absolute() and ".." not in path.parts and "\\" not in entry.path and "\0" not in entry.path
        if path.suffix == ".parquet" and safe and isinstance(getattr(entry, "size", None), int):
            lfs = getattr(entry, "lfs", None)
            files[entry.path] = (entry.size, getattr(lfs, "sha256", None))
    return commit, files


def _fetch(
    task: Task,
    options: HubOptions,
    place: Path,
    name: str,
    commit: str,
    size: int,
    sha256: str | None,
    progress: Progress | None,
) -> None:
    """Fetch one table; what fetches checkpoints does it, as to it one is a file like another."""
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(options.hub, name, repo_type="dataset", revision=commit, endpoint=_endpoint())
    source = FileSource(path=str(place.resolve()), url=url, sha256=sha256, size=size)
    if place.exists() and place.stat().st_size != size:
        place.unlink()  # of another revision
    file = Checkpoint(
        id=f"{options.hub.replace('/', '--')}--{place.stem}", method="dense", arch="-", sparsity=0.0, file=source
    )
    try:
        Fetcher(progress=progress).fetch(file)
    except CheckpointError as error:
        reason = error.message.removeprefix(f"checkpoint {file.id} ")
        raise DatasetError(
            f"task {task.id!r}: {name} of {options.hub} can't be fetched: {reason}",
            hint="what was fetched is kept: try again later",
        ) from error
