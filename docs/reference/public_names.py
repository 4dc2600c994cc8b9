"""Puts the package's public names on the pages of the reference, none forgotten.

A page says `public: tasks.steps BatchItem`, and gets what comes from that module, and that name;
`public: *` is all that no page asked for. So a new name is in the reference at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import prefect_hailuo
from prefect_hailuo.cli import app
from prefect_hailuo.runs.settings import PREFIX, HailuoSettings

MARK = re.compile(r"^public: (.+)$", re.MULTILINE)

PAGES = Path(__file__).parent


def homes() -> dict[str, str]:
    """Every public name, with the module that it comes from."""
    modules = prefect_hailuo._homes()
    return {name: modules[name].removeprefix("prefect_hailuo.") for name in prefect_hailuo.__all__}


def asked_for() -> set[str]:
    """The modules and names that some page asks for."""
    marks = [mark for page in PAGES.glob("*.md") for mark in MARK.findall(page.read_text())]
    return {word for mark in marks for word in mark.split()}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    markdown = markdown.replace("commands: all", app.generate_docs(heading_level=2))
    markdown = markdown.replace("settings: all", _settings())
    return MARK.sub(lambda mark: _entries(mark.group(1).split()), markdown)


def _settings() -> str:
    rows = ["| setting | default | what it says |", "| --- | --- | --- |"]
    for name, field in HailuoSettings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, frozenset()) else f"`{default}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def _entries(asked: list[str]) -> str:
    known = homes()
    if asked == ["*"]:
        elsewhere = asked_for()
        names = [name for name, home in known.items() if not {name, home} & elsewhere]
    else:
        if unknown := set(asked) - known.keys() - set(known.values()):
            raise LookupError(f"A page of the reference asks for {unknown}, which is not public.")
        names = [name for name, home in known.items() if {name, home} & set(asked)]
    return "\n\n".join(f"::: prefect_hailuo.{name}" for name in names)
