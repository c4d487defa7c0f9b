from __future__ import annotations

from hashlib import sha256

from file_server import BODY

from sparsebench.schema import Checkpoint, FileSource

SHA = sha256(BODY).hexdigest()


def entry(url: str | None = None, name: str = "r50.pth", **source: object) -> Checkpoint:
    """A registry entry whose file lies in the checkpoints folder."""
    file = FileSource.model_validate({"path": f"cache:{name}", "url": url} | source)
    return Checkpoint(id="r50.acdc_s90", method="acdc", arch="resnet50", sparsity=0.9, file=file)


class Notes(list[str]):
    """What a fetcher said, and how far it was."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[tuple[float, float]] = []
