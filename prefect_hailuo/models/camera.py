"""MiniMax's camera commands: words in square brackets in a prompt that move the camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from textwrap import shorten

CAMERA_COMMANDS = (
    *("Truck left", "Truck right", "Pan left", "Pan right", "Push in", "Pull out"),
    *("Pedestal up", "Pedestal down", "Tilt up", "Tilt down", "Zoom in", "Zoom out"),
    *("Shake", "Tracking shot", "Static shot"),
)
"""All commands that MiniMax documents for these models:
https://platform.minimax.io/docs/api-reference/video-generation-t2v (field `prompt`), as gathered
2026-08."""

MOST_AT_ONCE = 3
"""The most moves in one bracket that MiniMax advises; they happen at the same time."""

SHOWN_CHARACTERS = 60

_BRACKETS = re.compile(r"\[([^\[\]]*)\](?!\()")
"""Brackets, but not those of a link in Markdown."""

_ALIKE = 0.6
_NAMES = {name.casefold(): name for name in CAMERA_COMMANDS}


def check_camera_commands(prompt: str) -> list[str]:
    """Warnings about camera commands in a prompt that MiniMax may not understand.

    A wrong command is no error: the model reads it like any other word of the prompt, and the video
    is paid for. Brackets that hold no command at all are warned of, too.

    Args:
        prompt: The prompt. Commands stand in square brackets; several in one bracket, separated by
            commas, happen at the same time. Case does not matter.

    Returns:
        One warning for each problem, in the order of the prompt; none if all is well.

    Source: https://platform.minimax.io/docs/api-reference/video-generation-t2v, as gathered
    2026-08.

    Example:
        >>> check_camera_commands("[Push in, Pan left] A red fox at dawn. [Static shot] It sleeps.")
        []
        >>> for warning in check_camera_commands("[Pan lef] A red fox at dawn."):
        ...     print(warning)
        [Pan lef] is no camera command of MiniMax's; did you mean [Pan left]?
    """
    brackets = [_commands(inside) for inside in _BRACKETS.findall(prompt)]
    return list(dict.fromkeys(warning for each in brackets for warning in _warnings(each)))


def _commands(inside: str) -> list[str]:
    return [" ".join(each.split()) for each in inside.split(",")]


def _warnings(commands: list[str]) -> Iterator[str]:
    for command in commands:
        if command.casefold() not in _NAMES:
            yield _unknown(command)
    if len(commands) > MOST_AT_ONCE:
        yield (
            f"[{', '.join(commands)}] moves the camera in {len(commands)} ways at once; MiniMax "
            f"advises {MOST_AT_ONCE} at most."
        )


def _unknown(command: str) -> str:
    nearest = get_close_matches(command.casefold(), _NAMES, n=1, cutoff=_ALIKE)
    cure = f"did you mean [{_NAMES[nearest[0]]}]?" if nearest else f"there are {_listed()}."
    shown = shorten(command, SHOWN_CHARACTERS, placeholder="…")
    return f"[{shown}] is no camera command of MiniMax's; {cure}"


def _listed() -> str:
    return ", ".join(f"[{name}]" for name in CAMERA_COMMANDS)
