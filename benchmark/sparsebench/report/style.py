"""How things are called and drawn on paper: one spelling, colour and marker per method, whatever else is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from .. import extensions
from ..common.filenames import safe_name
from ..registry.names import method_names
from ..schema import UNDERFIT

SEED_CAPTION: Final = (
    "Seeds change the classifier's initialisation and the order of the data; the pruned backbone stays the same."
)
_DRAWS_CAPTION: Final = (
    "A seed's few-shot accuracy is the mean over many random draws of training images; ± is the spread of these means,"
    " not of single draws."
)
UNDERFIT_CAPTION: Final = (
    f"Underfit: the training objective of a seed's linear head ended above its minimum at the same weight decay by more"
    f" than {100 * UNDERFIT:g} % of the distance from an untrained head."
)


def seed_caption(probe: str) -> str:
    """Return what differs between the seeds of a probe, and so what a spread over them is about."""
    if probe == "fewshot":
        return _DRAWS_CAPTION
    declared: extensions.Probe | None = extensions.find("probes", probe) if probe else None
    if declared is not None and not declared.seeded:
        return f"The probe {declared.name} has no randomness: one run, and no spread over seeds."
    return SEED_CAPTION


DENSE_COLOUR: Final = "#3b3b3b"

# The methods' own colours are of the "muted" qualitative scheme of P. Tol, which all common kinds of colour
# blindness distinguish; these are for methods that declare none.
_OTHERS: Final[tuple[tuple[str, str], ...]] = (
    ("#4477aa", "h"),
    ("#ee7733", "d"),
    ("#009988", "p"),
    ("#ee3377", "8"),
    ("#777777", "H"),
)
_STROKES: Final = ("-", "--", ":", "-.")


def method_colour(method: str) -> str:
    """Return a method's colour, the same in every figure; an unknown method's follows from its name."""
    known = method_names().get(method)
    return (known.colour if known else "") or _OTHERS[_number(method, len(_OTHERS))][0]


def method_marker(method: str) -> str:
    """Return a method's marker, so that methods differ without colour too."""
    known = method_names().get(method)
    return (known.marker if known else "") or _OTHERS[_number(method, len(_OTHERS))][1]


def variant_stroke(index: int) -> str:
    """Return the line style of a method's ``index``-th variant."""
    return _STROKES[index % len(_STROKES)]


def variant_fill(colour: str, index: int) -> str:
    """Return the fill of the markers of a method's ``index``-th variant: its colour, then paler, then white."""
    white = min(0.6 * index, 1.0)
    channels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(c + (255 - c) * white):02x}" for c in channels)


def method_order(method: str) -> tuple[int, str]:
    """Return what methods are sorted by: the known ones in their order, then the others by name."""
    known = list(method_names())
    return (known.index(method), "") if method in known else (len(known), method)


def percent(value: float, digits: int = 2) -> str:
    """Return a fraction in percent, without the sign: ``0.8546`` is ``85.46``; a minus is a real one."""
    text = f"{100 * value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed_percent(value: float, digits: int = 1) -> str:
    """Return a change in percent with its sign, ``+3.2`` or ``−3.2``; no change has none."""
    text = percent(value, digits)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def metric_sentence(per_class: Sequence[str]) -> str:
    """Return which tasks are not scored by top-1; nothing where all are."""
    return f"Mean per-class accuracy on {', '.join(per_class)}, top-1 elsewhere." if per_class else ""


def sentences(*texts: str) -> str:
    """Return sentences as one text, empty ones left out."""
    return " ".join(text for text in texts if text)


def group_title(group: dict[str, str]) -> str:
    """Return a group's heading, for example ``linear · sgd · cvpr22-linear · mini (suite) · mini (arch)``."""
    parts = [group["mode"], group["probe"], group["protocol"]]
    parts += [f"suite {group['suite']}"] if group["suite"] else []
    parts += [f"arch {group['arch']}"] if group["arch"] else []
    return " · ".join(dict.fromkeys(part for part in parts if part))


_PROBE_TITLES: Final = {"sgd": "SGD", "lbfgs": "L-BFGS", "knn": "k-NN"}
_MODE_TITLES: Final = {"linear": "Linear: frozen features", "full": "Full finetuning"}


def panel_title(group: dict[str, str], groups: list[dict[str, str]]) -> str:
    """Return the mode, with what else distinguishes the panels of one mode."""
    title = _MODE_TITLES.get(group["mode"], group["mode"])
    same = [other for other in groups if other["mode"] == group["mode"]]
    differing = [name for name in group if name != "mode" and len({other[name] for other in same}) > 1]
    alone = [name for name in differing if len({other[name] for other in same}) == len(same)]
    more = [
        _PROBE_TITLES.get(group[name], group[name])
        for name in (alone[-1:] if "probe" not in alone else ["probe"]) or differing
    ]
    return f"{title} ({', '.join(more)})" if more else title


def distinguish(group: dict[str, str], groups: list[dict[str, str]], always: tuple[str, ...] = ()) -> str:
    """Return the ending of a file's name: what distinguishes a group from the others."""
    differing = [n for n in group if n in always or len({other[n] for other in groups}) > 1]
    return "".join(f"-{safe_name(group[n])}" for n in differing if group[n])


def _number(name: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % count
