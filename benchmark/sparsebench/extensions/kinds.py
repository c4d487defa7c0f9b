"""What each kind of extension declares. Nothing here imports what does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..schema.errors import InputError
from .base import Extension, Settings, Work

if TYPE_CHECKING:
    from ..schema import Numerics


@dataclass(frozen=True, kw_only=True)
class Probe(Extension):
    """A classifier on frozen features: ``run --probe NAME``.

    Parameters
    ----------
    fit : function or ``module:function``
        ``fit(data, protocol, seeds, *, device, progress)`` from a :class:`~sparsebench.transfer.probes.data.ProbeData`
        to a list with a :class:`~sparsebench.transfer.probes.data.Fitted` for each seed. The probe's settings are
        ``protocol.settings``.
    settings : type of Settings
        Its own settings, which are fields of its protocols; its ``chooses`` says whether some are chosen on val.
    protocol : str
        The registered protocol that ``--probe NAME`` takes; without one, that is ``NAME-linear``, with the defaults.
    seeded : bool
        Whether a seed changes the numbers; if none does, it is run once.
    trains : bool
        Whether it uses the protocol's fields of training by SGD: ``lr``, ``epochs`` and so on.
    keeps_head : bool
        Whether its fit has a linear head, by which further test sets can be scored.
    """

    noun: ClassVar[str] = "probe"

    fit: Work
    settings: type[Settings] = Settings
    protocol: str = ""
    seeded: bool = True
    trains: bool = False
    keeps_head: bool = True

    @property
    def protocol_name(self) -> str:
        """The name of the protocol that ``--probe`` takes."""
        return self.protocol or f"{self.name}-linear"


@dataclass(frozen=True, kw_only=True)
class Engine(Extension):
    """How a frozen backbone is run: ``run --engine NAME``.

    Parameters
    ----------
    build : function or ``module:function``
        ``build(module, numerics, input_shape)`` to a callable from a float batch (B, 3, H, W) to float32 features
        (B, d). The module must not be changed; what can't be run raises :class:`~sparsebench.schema.InputError`.
    check : function or ``module:function``, optional
        ``check(module, input_shape)`` raises InputError for a backbone that it can't run, when the plan is made.
    train : function or ``module:function``, optional
        ``train(module, masks, numerics)`` to an ``nn.Module`` with the module's ``state_dict``, which full mode trains;
        it may change the module. Without it torch trains. ``trained_parameters()`` gives what the optimizer trains, and
        ``write()`` brings the ``state_dict`` up to it; masked weights must be held at zero.
    check_training : function or ``module:function``, optional
        As ``check``, for a backbone that it can't train.
    devices, precisions : tuple of str
        What it computes on and in; ``--engine auto`` tries it there alone.
    compiles : bool
        Whether it takes ``--compile``.
    falls_back : bool
        Whether torch runs in its place, with a warning, where something that it needs is missing.
    skips_zeros : bool
        Whether it leaves out the products with weights that are zero.
    pads : bool
        Whether it pads a batch to whole chunks; the built engine's ``lanes`` says of how many images.
    version : int
        Raised when a change can change its numbers: features cached by another version are not used.
    packages : tuple of str
        Packages whose version can change its numbers.
    """

    noun: ClassVar[str] = "engine"

    build: Work
    check: Work | None = None
    train: Work | None = None
    check_training: Work | None = None
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("fp32",)
    compiles: bool = False
    falls_back: bool = False
    skips_zeros: bool = False
    pads: bool = False
    version: int = 1
    packages: tuple[str, ...] = ()

    def check_numerics(self, numerics: Numerics) -> None:
        """Raise InputError where it doesn't compute as ``numerics`` ask."""
        device = numerics.device.partition(":")[0]
        problem = ""
        if device not in self.devices:
            problem = f"runs on {' and '.join(self.devices)}, not on {device}"
        elif numerics.precision not in self.precisions:
            problem = f"computes in {', '.join(self.precisions)}, not in {numerics.precision}"
        elif numerics.compile and not self.compiles:
            problem = "doesn't use torch.compile"
        if problem:
            raise InputError(f"engine {self.name!r} {problem}", "use --engine torch, or compute as it does")


@dataclass(frozen=True, kw_only=True)
class CheckpointFormat(Extension):
    """A way in which checkpoints lie in files: ``run --format NAME``, and ``format`` in a registry.

    A format of files of its own has ``opens`` and ``read``; one that is a layout of a state dict has ``fits`` and
    ``convert``. With ``opens`` or ``fits`` it is recognised by content, else it must be asked for.

    Parameters
    ----------
    opens : function or ``module:function``, optional
        ``opens(path, head)``: whether a file is one of its own, by its path and first 64 bytes.
    read : function or ``module:function``, optional
        ``read(path, budget, weights)`` to a :class:`~sparsebench.models.formats.base.RawCheckpoint`.
    fits : function or ``module:function``, optional
        ``fits(raw)``: whether a file's tensors are laid out so.
    convert : function or ``module:function``, optional
        ``convert(raw, wanted)`` to the RawCheckpoint of a plain state dict; ``wanted`` has ``path``, ``sparsity`` and
        ``nm`` as they are registered.
    """

    noun: ClassVar[str] = "checkpoint format"

    opens: Work | None = None
    read: Work | None = None
    fits: Work | None = None
    convert: Work | None = None


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor is made for.

    Parameters
    ----------
    plan : str
        The name of the plan's file.
    jobs, threads : int
        Worker processes asked for, and CPU threads of each process of a run.
    processes : int
        Processes that share each run.
    settings : Settings or None
        The executor's own settings, as asked for.
    wait : bool
        Whether to wait for the runs to end.
    say : callable
        Takes lines for the user.
    """

    plan: str = ""
    jobs: int = 1
    threads: int = 1
    settings: Any = None
    wait: bool = True
    say: Callable[[str], None] = print
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class Executor(Extension):
    """Where the runs of a plan are computed: ``run --executor NAME``.

    Parameters
    ----------
    make : function or ``module:function``
        ``make(context)`` from an :class:`ExecutorContext` to an object whose ``execute(plan, options, emit)`` does each
        run of a plan, in any order, and reports each record.
    parallel : bool
        Whether it takes ``--jobs N``.
    elsewhere : bool
        Whether runs are computed on other machines: this one then fetches nothing on their behalf, and need not have
        their GPUs. ``--no-wait`` is for these.
    settings : type, optional
        The model of its own settings, which ``--cluster FILE`` and the options beside it give.
    check : function or ``module:function``, optional
        ``check(settings, runs)`` raises InputError before anything is written, where it can't run so many runs.
    hints : function or ``module:function``, optional
        ``hints(results)``: how to go on after ``--no-wait``.
    """

    noun: ClassVar[str] = "executor"

    make: Work
    parallel: bool = False
    elsewhere: bool = False
    settings: type | None = None
    check: Work | None = None
    hints: Work | None = None


SEVERITIES: tuple[int, ...] = (1, 2, 3, 4, 5)
"""How strong a corruption may be: the weakest first."""


@dataclass(frozen=True, kw_only=True)
class Corruption(Extension):
    """What may happen to test images: ``run --shift NAME``.

    Parameters
    ----------
    apply : function or ``module:function``
        ``apply(pixels, constants, random)`` from uint8 pixels (S, S, 3) and a NumPy generator of the image's own to
        such pixels.
    constants : mapping of int to tuple
        By size of images in pixels, five constants, one per severity; an image takes those of the nearest size (by
        ratio).
    family : str
        What it is averaged with: ``noise``, ``blur``, ``weather``, ``digital``, or another.
    version : int
        Raised when the same constants give other pixels: it is part of a test set's fingerprint.
    """

    noun: ClassVar[str] = "corruption"

    apply: Work
    constants: Mapping[int, tuple[Any, ...]]
    family: str = "other"
    version: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.constants or any(len(levels) != len(SEVERITIES) for levels in self.constants.values()):
            raise ValueError(f"corruption {self.name!r} needs {len(SEVERITIES)} constants, one per severity")

    def constants_at(self, size: int, severity: int) -> Any:
        """Return the constants for images of ``size`` pixels at a severity from 1 to 5."""
        nearest = min(self.constants, key=lambda known: (max(known / size, size / known), known))
        return self.constants[nearest][severity - 1]


@dataclass(frozen=True, kw_only=True)
class LeaderboardColumn(Extension):
    """A column of ``leaderboard.csv``: ``report --column NAME``.

    Parameters
    ----------
    value : function or ``module:function``
        ``value(line, part)`` to a number, text, bool or None: ``line`` is what is known of a checkpoint in its group (a
        mapping with the fields of :data:`~sparsebench.report.aggregate.SUMMARY_COLUMNS`), ``part`` the group's
        :class:`~sparsebench.report.aggregate.Aggregate`. It must depend on nothing else, as equal records give equal
        bytes.
    always : bool
        Whether it is written without being asked for; our own are.
    sparse : bool
        Whether it is left out of a leaderboard in which no entry has a value.
    """

    noun: ClassVar[str] = "leaderboard column"

    value: Work
    always: bool = False
    sparse: bool = False


__all__ = [
    "SEVERITIES",
    "CheckpointFormat",
    "Corruption",
    "Engine",
    "Executor",
    "ExecutorContext",
    "LeaderboardColumn",
    "Probe",
]
