"""Lets the reference's generator read the docstrings as they are written.

It knows `Examples:` where they say `Example:`, and an argument a line where they name several.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)

ALIKE = re.compile(r"^( +)(\w+(?:, \w+)+): (.+)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Called for each object that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put its docstring as the generator has it."""
        if obj.docstring:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = ALIKE.sub(_one_a_line, text)


def _one_a_line(found: re.Match[str]) -> str:
    indent, names, text = found.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))
