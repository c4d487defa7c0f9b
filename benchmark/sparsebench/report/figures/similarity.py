"""The figure of linear CKA by depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..cka import Alike
from ..style import DENSE_COLOUR, sentences
from .beyond import handle
from .canvas import Canvas, Picture, paper_style

_COLUMNS, _PAGE, _COLUMN = 3, 7.0, 3.5


def similarity_figure(names: tuple[str, str], found: Sequence[Alike]) -> Picture:
    """Draw the CKA of two backbones over their stages, a panel per task, with that of two trainings and chance."""
    tasks = list(dict.fromkeys(one.task for one in found))
    lines = [
        ("cka", "A and B", "#4477aa", "o", "-"),
        ("replicates_a", "two trainings of A", "#ccbb44", "^", "--"),
        ("replicates_b", "two trainings of B", DENSE_COLOUR, "s", "--"),
        ("chance", "shuffled images", "#999999", "none", ":"),
    ]
    lines = [line for line in lines if any(not math.isnan(getattr(one, line[0])) for one in found)]
    counts = sorted({one.n for one in found})
    caption = sentences(
        f"Linear CKA (Kornblith et al. 2019) of the features of {names[0]} (A) and {names[1]} (B) after each stage of"
        f" the network, averaged over the image, on {counts[0]} to {counts[-1]} test images.",
        "Features: the head's input.",
        "Two trainings: the same of one recipe trained with another seed; what isn't below that is no difference of the"
        " recipes."
        if any(line[0].startswith("replicates") for line in lines)
        else "No second training of either is registered, so how much another seed changes isn't known.",
        "Shuffled: with the images of one side permuted, which so few images would give by chance.",
    )
    with paper_style():
        columns = min(len(tasks), _COLUMNS)
        canvas = Canvas(
            len(tasks), columns, _PAGE if columns > 1 else _COLUMN, 1.6, [line[1] for line in lines], below=0.62
        )
        for index, (axes, task) in enumerate(zip(canvas.axes, tasks, strict=True)):
            own = [one for one in found if one.task == task]
            axes.set_title(task)
            for name, _, colour, marker, stroke in lines:
                values = [getattr(one, name) for one in own]
                axes.plot(range(len(own)), values, stroke, color=colour, marker=marker, markersize=3.5)
            axes.set_ylim(0.0, 1.02)
            axes.set_xticks(range(len(own)), [one.stage for one in own], rotation=60, ha="right", fontsize=6)
            if index % columns == 0:
                axes.set_ylabel("Linear CKA")
        canvas.legend([handle(colour, marker, stroke, label) for _, label, colour, marker, stroke in lines])
        return Picture("cka", canvas, caption)
