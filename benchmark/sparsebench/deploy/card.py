"""The model card of an exported network: what it is, how good, where from, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..schema import Preprocess
from ..schema.text import printable
from .folder import CARD, CONFIG, ONNX, WEIGHTS, Description

_SHOWN_CLASSES = 40
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*[]<>|"})


def card(description: Description) -> str:
    """Return the card as Markdown, with the header that the Hugging Face hub reads."""
    about = description.provenance
    lines = [
        "---",
        *_header(description),
        "---",
        "",
        f"# {_plain(about['checkpoint'])} on {_plain(about['task'])}",
        "",
        _summary(description),
        "",
        "## How good it is",
        "",
        *_accuracy(about["accuracy"]),
        "",
        "## How to use it",
        "",
        "```sh",
        "sparsebench predict FOLDER_OF_THIS_CARD FOLDER_OF_IMAGES",
        "```",
        "",
        *_usage(description),
        "",
        "## Classes",
        "",
        _classes(description.classes),
        "",
        "## Where it is from",
        "",
        *_table(_provenance(about)),
        "",
        f"`{CONFIG}` has all of this for programs. Files: {', '.join(f'`{name}`' for name in _files(description))}.",
    ]
    return "\n".join(lines) + "\n"


def _header(description: Description) -> list[str]:
    about = description.provenance
    tags = ["image-classification", "sparse", "pruned", "sparsebench"]
    lines = [f"tags: {json.dumps(tags)}", "pipeline_tag: image-classification"]
    if "/" not in description.arch:
        lines.append("library_name: timm")
    if about.get("checkpoint_licence"):
        lines.append(f"license_name: {json.dumps(about['checkpoint_licence'])}")
    return lines


def _summary(description: Description) -> str:
    about = description.provenance
    how = "finetuned with its sparsity mask held fixed" if description.mode == "full" else (
        f"frozen, under a linear head fitted by the probe `{description.probe}`"
    )  # fmt: skip
    held = f"masked, and zero, in {about['sparsity_measured']:.2%} of its {about['sparsity_scope']} weights"
    pruned = f"pruned by {_plain(about['method'])}, " if about["sparsity"] else ""
    return (
        f"`{_plain(description.arch)}`, {pruned}{how}, for {len(description.classes)} classes. The backbone is"
        f" {held if about['sparsity'] else 'dense'}; the head is dense."
    )


def _accuracy(accuracy: dict[str, Any]) -> list[str]:
    metric = {"top1": "Top-1", "mean_per_class": "Mean per-class"}[accuracy["metric"]]
    images, seed = f"{accuracy['n_test']:,} test images", accuracy["seed"]
    lines = [f"{metric} accuracy on {images}: {accuracy['value']:.2%} (seed {seed})."]
    if accuracy["seeds"] > 1:
        lines.append(
            f"Over the {accuracy['seeds']} seeds that were run: {accuracy['mean']:.2%} on average, standard deviation"
            f" {accuracy['sd']:.2%}."
        )
    if accuracy.get("val") is not None:
        lines.append(f"On validation images: {accuracy['val']:.2%}.")
    return lines


def _usage(description: Description) -> list[str]:
    images = description.preprocess
    text = [
        f"Input: RGB images, short side resized to {images.resize_size} px ({images.interpolation}), the centre of"
        f" {images.input_size} px cut out, scaled to [0, 1], then normalised with mean {list(images.mean)} and standard"
        f" deviation {list(images.std)}. Output: a logit per class.",
    ]
    if description.probe == "ridge":
        text.append("The head was fitted to one-hot targets: its largest logit names the class, and is no probability.")
    if "/" not in description.arch:
        text += ["", "```python", *_timm(description, images), "```"]
    return text


def _timm(description: Description, images: Preprocess) -> list[str]:
    return [
        "import timm  # and sparsebench's own architectures, where it is one of them:",
        "import sparsebench.models.architectures.registration",
        "from safetensors.torch import load_file",
        "",
        f"model = timm.create_model({description.arch!r}, num_classes={len(description.classes)})",
        f"model.load_state_dict(load_file({WEIGHTS!r}))",
    ]


def _classes(classes: Sequence[str]) -> str:
    shown = ", ".join(f"{number} {_plain(name)}" for number, name in enumerate(classes[:_SHOWN_CLASSES]))
    more = len(classes) - _SHOWN_CLASSES
    return shown + (f", and {more} more in `{CONFIG}`" if more > 0 else "")


def _provenance(about: dict[str, Any]) -> list[tuple[str, str]]:
    names = {
        "upstream": "trained upstream on",
        "checkpoint_licence": "licence of the checkpoint",
        "checkpoint_source": "source of the checkpoint",
        "task_licence": "licence of the images",
        "task_source": "source of the images",
        "record_key": "record",
        "protocol": "protocol",
        "chosen": "chosen on validation",
        "n_train": "training images",
        "weights_sha256": "sha256 of the upstream weights",
        "mask_sha256": "sha256 of the mask",
        "split_sha256": "sha256 of the split",
        "transform_sha256": "sha256 of the transform",
        "file_sha256": f"sha256 of {WEIGHTS}",
        "made": "trained",
        "versions": "versions",
    }
    return [(text, _text(about[name])) for name, text in names.items() if about.get(name) not in (None, "", {})]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {_plain(text)} |" for name, text in rows)]


def _files(description: Description) -> list[str]:
    return [WEIGHTS, CONFIG, CARD, *([ONNX] if description.onnx else [])]


def _plain(text: Any) -> str:
    """Return text from elsewhere so that Markdown shows it as it is, on one line."""
    return printable(" ".join(str(text).split())).translate(_MARKS)
