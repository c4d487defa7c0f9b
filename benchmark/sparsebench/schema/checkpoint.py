"""Checkpoint: one entry of ``checkpoints.yaml``."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from .base import Strict

SparsityScope = Literal["prunable", "pruned_layers", "all_params"]
"""What a sparsity is a fraction of.

A weight counts as pruned where a mask holds it at zero.

``prunable``: the convolution and linear weights that the method may prune (all but the exempt layers);
``pruned_layers``: the weights of the layers that hold at least one pruned weight;
``all_params``: every parameter of the model, its head, biases and normalisation included.
"""

Distribution = Literal["dense", "global", "uniform", "erk", "nm", "learned", "per_layer", "block", "unknown"]
"""How sparsity is spread over layers.

``nm`` keeps N of every M consecutive inputs, ``learned`` is what training arrives at, ``per_layer`` was set by hand,
``block`` prunes whole tiles; of an ``unknown`` one nothing was published.
"""

SPARSITY_TOLERANCE = 0.02
"""Largest difference between a claimed and a measured sparsity (STR's nominal 80 % is 81.27 %)."""

Interpolation = Literal["bilinear", "bicubic", "nearest"]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ADDRESS = r"https?://[^\s/]+(/\S*)?|hf:[\w.-]+/[\w.-]+/[^\s@]+@[\w./-]+|gdrive:[\w-]{10,}"
"""What an address looks like."""

Fraction = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]


class Preprocess(Strict):
    """How an image becomes a network's input; it belongs to the checkpoint.

    The short side is resized to ``round(input_size / crop_pct)`` pixels, the centre ``input_size`` square is cut out,
    and the pixels (in [0, 1]) are normalised by ``mean`` and ``std``.
    """

    input_size: int = Field(
        strict=True, default=224, gt=0, le=4096, description="side of the square that the network sees, in pixels"
    )
    mean: tuple[float, float, float] = Field(
        default=(0.485, 0.456, 0.406), description="mean of each channel, subtracted from pixels in [0, 1]"
    )
    std: tuple[float, float, float] = Field(
        default=(0.229, 0.224, 0.225), description="standard deviation of each channel, by which the rest is divided"
    )
    interpolation: Interpolation = Field(default="bilinear", description="how images are resized")
    crop_pct: float = Field(
        strict=True,
        default=0.875,
        gt=0.0,
        le=1.0,
        description="share of the resized short side that the centre crop keeps",
    )

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0:
            raise ValueError("standard deviations must be positive")
        return value

    @property
    def resize_size(self) -> int:
        """Pixels of the short side before the centre crop (256 for 224 at 0.875)."""
        return round(self.input_size / self.crop_pct)


class FileSource(Strict):
    """Where a checkpoint's bytes are, and where they come from.

    Parameters
    ----------
    path : str
        Relative to the YAML file that holds the entry; ``package:NAME`` is a file inside the installed package,
        ``python:PACKAGE/NAME`` one inside another installed package, ``cache:NAME`` one below the checkpoints folder.
    sha256, sha256_prefix : str, optional
        The file's published hash, or its first digits (torchvision's file names carry eight).
    size : int, optional
        The file's bytes.
    url : str, optional
        Where it is fetched from when it isn't there: ``https://...``, ``hf:REPO/FILE@REVISION`` or ``gdrive:ID``.
    mirrors : tuple of str
        Other addresses of the same file, tried in this order.
    member : str, optional
        The file inside the archive (.tar, .tar.gz, .zip) that ``url`` gives; ``*`` and ``?`` stand for unknown parts of
        its name. Hash and size are the member's.
    manual : str, optional
        What a person has to get from where, for a file that no address gives.
    """

    path: str = Field(
        description="relative to the YAML file; or package:NAME, python:PACKAGE/NAME, cache:NAME (checkpoints folder)"
    )
    sha256: Sha256 | None = Field(default=None, description="the file's sha256, checked before each use")
    sha256_prefix: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{8,64}$",
        description="the first 8 or more digits of the sha256, where no more is published",
    )
    size: int | None = Field(strict=True, default=None, gt=0, description="the file's size in bytes")
    url: str | None = Field(
        default=None, description="where to fetch it: https://..., hf:OWNER/REPO/FILE@REVISION or gdrive:FILE_ID"
    )
    mirrors: tuple[str, ...] = Field(default=(), description="other addresses of the same file, tried in this order")
    member: str | None = Field(
        default=None,
        description="the file inside the archive that url gives; * and ? stand for unknown parts of its name",
    )
    manual: str | None = Field(
        default=None, min_length=1, description="what a person has to get from where, for a file that no address gives"
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses in the order in which they are tried."""
        return (self.url, *self.mirrors) if self.url else ()

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the path is empty")
        kind, colon, name = value.partition(":")
        if colon and kind in ("package", "python", "cache"):
            relative = PurePosixPath(name)
            if ".." in relative.parts:
                raise ValueError(f"a {kind} path may not contain '..'")
            if relative.is_absolute() or not relative.parts or "\\" in name or ":" in name:
                raise ValueError(f"a {kind} path is relative: {kind}:NAME")
        return value

    @field_validator("url", "mirrors")
    @classmethod
    def _known_scheme(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for address in (value,) if isinstance(value, str) else value or ():
            if not re.fullmatch(ADDRESS, address):
                raise ValueError(
                    f"{address!r} is not https://..., http://..., hf:OWNER/REPO/FILE@REVISION or gdrive:ID"
                )
        return value

    @field_validator("member")
    @classmethod
    def _member_inside(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or value.startswith("/") or ".." in PurePosixPath(value).parts):
            raise ValueError("a member is a path inside the archive")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> FileSource:
        if self.mirrors and not self.url:
            raise ValueError("mirrors need a url")
        if self.member and not self.url:
            raise ValueError("a member needs the url of its archive")
        if self.path.startswith(("package:", "python:")) and self.url:
            raise ValueError("a package's file is installed with it: leave the url out")
        if self.path.startswith("package:") and self.manual:
            raise ValueError("a package file is there already: leave manual out")
        if self.sha256 and self.sha256_prefix and not self.sha256.startswith(self.sha256_prefix):
            raise ValueError("sha256 doesn't start with sha256_prefix")
        return self


class Upstream(Strict):
    """What the checkpoint was trained on, and how well it does there."""

    dataset: str = Field(description="what it was trained on")
    top1: Fraction | None = Field(default=None, description="its top-1 accuracy there, a fraction")
    classes: int | None = Field(strict=True, default=None, gt=1, description="number of upstream classes")
    epochs: float | None = Field(strict=True, default=None, gt=0, description="epochs of training")
    steps: int | None = Field(strict=True, default=None, gt=0, description="optimizer steps of training")
    schedule: str | None = Field(default=None, description="learning-rate schedule, in words")
    label_smoothing: float | None = Field(
        strict=True, default=None, ge=0.0, lt=1.0, description="label smoothing of the training loss"
    )


class Training(Strict):
    """How to make the checkpoint again."""

    command: str = Field(description="the command that makes the checkpoint again")
    log: str | None = Field(default=None, description="its accuracy and sparsity by epoch: a CSV file")


class Checkpoint(Strict):
    """A pruned (or dense) upstream checkpoint and everything needed to use it rightly.

    ``id`` follows timm's ``arch.tag``. ``sparsity`` is the nominal value by which the entry is selected;
    ``sparsity_exact``, where it is known, is the file's own under the same scope, and what it must measure. ``exempt``
    names the layers that the method doesn't prune; where it is absent, these are the first layer and the head, each if
    it is dense. ``base`` is the file of the dense weights that a file of masks alone keeps some of. ``replicate``
    counts trainings of one recipe with different seeds: entries that differ in it alone are one entry of a table, and
    the id of replicate 1 is that of the first with the ending ``_r1``.
    Of a file with several sets of weights, ``weights`` says which: ``ema`` (averaged over training), ``raw``, or its
    name in the file. ``memory`` is how many bytes its tensors may take, for a file that is meant to unpack to more than
    32 times its size.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="its name, as in timm: arch.tag")
    method: str = Field(
        description="pruning method, such as acdc or gmp; dense for none; any other name for a method of your own"
    )
    variant: str | None = Field(default=None, description="which of several recipes of the method")
    arch: str = Field(description="architecture: a name of timm, torchvision/NAME, or mini")
    sparsity: float = Field(
        strict=True, ge=0.0, lt=1.0, description="nominal sparsity, a fraction: what --sparsity selects"
    )
    sparsity_exact: Fraction | None = Field(
        default=None, description="the file's own sparsity, a fraction; what is measured must agree with it"
    )
    sparsity_scope: SparsityScope = Field(default="prunable", description="what the sparsity is a fraction of")
    distribution: Distribution = Field(default="global", description="how sparsity is spread over layers")
    nm: str | None = Field(
        default=None,
        pattern=r"^[1-9]\d*:[1-9]\d*$",
        description="N:M pattern, such as '2:4'; goes with distribution nm",
    )
    exempt: tuple[str, ...] | None = Field(
        default=None,
        description="layers that the method doesn't prune; by default the first layer and the head, if dense",
    )
    reference: str | None = Field(default=None, description="id of the dense checkpoint that it is compared with")
    twin_of: str | None = Field(
        default=None, description="of a dense network that comes with a sparse one: that one's id"
    )
    replicate: int = Field(
        strict=True,
        default=0,
        ge=0,
        description="number of the upstream training; a replicate's id ends in _r1, _r2, ...",
    )
    file: FileSource = Field(description="the file with the weights")
    base: FileSource | None = Field(
        default=None, description="of a file of masks alone: the file with the dense weights that the masks apply to"
    )
    format: str = Field(default="auto", description="file format; auto recognises it")
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="which weights of several in the file: ema, raw, or their name in the file",
    )
    memory: int | None = Field(
        strict=True,
        default=None,
        gt=0,
        description="bytes that its tensors may take; by default 32 times the file's size",
    )
    preprocess: Preprocess | None = Field(
        default=None,
        description="how an image becomes the network's input; by default as timm or torchvision have it",
    )
    upstream: Upstream | None = Field(default=None, description="what it was trained on")
    training: Training | None = Field(default=None, description="how to make it again")
    licence: str | None = Field(default=None, description="licence of the weights")
    source: str | None = Field(default=None, description="where it is from")
    notes: str | None = Field(default=None, description="anything a reader should know")

    def files(self) -> list[Checkpoint]:
        """Return this entry, and for a file of masks alone one more, whose file is the base."""
        return [self, self.model_copy(update={"file": self.base, "base": None})] if self.base else [self]

    @property
    def entry(self) -> str:
        """What all replicates of the checkpoint are called together: its id without the replicate's ending."""
        return self.id.removesuffix(f"_r{self.replicate}") if self.replicate else self.id

    @property
    def family(self) -> str:
        """The architecture that it is listed, selected and compared under: ``resnet50`` for RigL's ResNet-50."""
        name, first = self.arch.rpartition("/")[2], self.id.partition(".")[0]
        return first if name.startswith(first) else name

    @model_validator(mode="after")
    def _consistent(self) -> Checkpoint:
        if self.replicate and not self.id.endswith(f"_r{self.replicate}"):
            raise ValueError(f"the id of replicate {self.replicate} ends in _r{self.replicate}")
        if self.method == "dense" and self.sparsity != 0:
            raise ValueError("a dense checkpoint has sparsity 0")
        if self.method != "dense" and self.sparsity == 0:
            raise ValueError("a checkpoint of sparsity 0 has method 'dense'")
        if (self.distribution == "nm") != (self.nm is not None):
            raise ValueError("distribution 'nm' and the field 'nm' (for example '2:4') go together")
        if self.reference == self.id:
            raise ValueError("a checkpoint can't be its own reference")
        return self
