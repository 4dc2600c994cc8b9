"""Lets the reference's generator read the docstrings as they are written.

It knows `Examples:` where they say `Example:`, and an argument a line where they name several.
Where a function takes the options of a purchase, the reference names and explains each of them.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)

ALIKE = re.compile(r"^( +)(\w+(?:, \w+)+): (.+)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Called for each object that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put its signature and its docstring as the generator has them."""
        if isinstance(obj, griffe.Function):
            _name_options(obj)
        if obj.docstring:
            text = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)
            obj.docstring.value = ALIKE.sub(_one_a_line, text)


def _name_options(function: griffe.Function) -> None:
    """Take from the package how `show_options` has expanded the options and the docstring."""
    last = list(function.parameters)[-1:]
    if not last or not str(last[0].annotation).startswith("Unpack["):
        return
    shown = getattr(import_module(function.module.path), function.name)
    signature = inspect.signature(shown)
    if last[0].name in signature.parameters:
        return  # such as the emulator's, which are not expanded
    function.docstring = griffe.Docstring(inspect.getdoc(shown) or "", parent=function)
    types = function.modules_collection[last[0].annotation.slice.canonical_path].all_members
    del function.parameters[last[0].name]
    for name in list(signature.parameters)[len(function.parameters) :]:
        function.parameters.add(
            griffe.Parameter(
                name,
                annotation=types[name].annotation,
                kind=griffe.ParameterKind.keyword_only,
                default=repr(signature.parameters[name].default),
            )
        )


def _one_a_line(found: re.Match[str]) -> str:
    indent, names, text = found.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))
