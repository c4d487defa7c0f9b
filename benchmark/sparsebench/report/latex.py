"""Text and figures for LaTeX."""

from __future__ import annotations

import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "·": r"$\cdot$",
    "ρ": r"$\rho$",
}


def escape_latex(text: str) -> str:
    """Return text as LaTeX sets it, on one line."""
    return " ".join("".join(_LATEX.get(character, character) for character in text).split())


def label(text: str) -> str:
    """Return the part of a label that a title gives: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def latex_figure(name: str, caption: str) -> str:
    """Return a figure environment that includes a file by its name without ending, with its caption and label."""
    lines = [
        r"\begin{figure}",
        r"\centering",
        rf"\includegraphics{{{name}}}",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{fig:{label(name)}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"
