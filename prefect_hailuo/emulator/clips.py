"""The clips that one emulator serves: rendered on first need, a few of them kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import anyio
import anyio.to_thread

from prefect_hailuo.emulator.clip import render
from prefect_hailuo.emulator.generations import Generation
from prefect_hailuo.emulator.stills import Stills
from prefect_hailuo.endpoints import Endpoint, Picture

Clip = Literal["prompt", "plain"] | bytes
"""What is served as video: one drawn for each prompt, one for all, or the given bytes."""

CLIPS_KEPT = 64
"""How many clips an emulator keeps, half a megabyte each; an older one is drawn again."""

PLAIN_PROMPT = "The emulator's plain clip: the same for every prompt."

_PLAIN_CLIPS: dict[Picture, bytes] = {}
"""Drawn once a process, for all emulators in it."""


class ClipLibrary:
    """Hands out the video of a generation.

    Args:
        clip: What to serve.
    """

    def __init__(self, clip: Clip) -> None:
        if not isinstance(clip, bytes) and clip not in ("prompt", "plain"):
            raise ValueError(f'clip must be "prompt", "plain" or bytes, not {clip!r}')
        self._clip = clip
        self._kept: OrderedDict[tuple[Endpoint, str, Picture, Stills], bytes] = OrderedDict()
        self._one_at_a_time: anyio.Lock | None = None

    async def video(self, generation: Generation, read: Callable[[], Stills]) -> bytes:
        """The bytes of a generation's MP4 file.

        Args:
            generation: Whose.
            read: Reads the pictures that it begins and ends with.

        Raises:
            MissingExtraError: It has to be drawn, and PyAV or Pillow is not installed.
        """
        if isinstance(self._clip, bytes):
            return self._clip
        if self._one_at_a_time is None:
            self._one_at_a_time = anyio.Lock()
        # Drawing keeps a core busy: two at once would only be late together, and a second reader
        # of the same video finds it drawn.
        async with self._one_at_a_time:
            if self._clip == "plain":
                return await _plain_clip(generation)
            return await self._drawn(generation, read)

    async def _drawn(self, generation: Generation, read: Callable[[], Stills]) -> bytes:
        key = (generation.endpoint, generation.prompt, generation.picture, read())
        if key not in self._kept:
            self._kept[key] = await anyio.to_thread.run_sync(render, *key)
        self._kept.move_to_end(key)
        while len(self._kept) > CLIPS_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]


async def _plain_clip(generation: Generation) -> bytes:
    endpoint, picture = generation.endpoint, generation.picture
    if picture not in _PLAIN_CLIPS:
        video = await anyio.to_thread.run_sync(render, endpoint, PLAIN_PROMPT, picture)
        _PLAIN_CLIPS[picture] = video
    return _PLAIN_CLIPS[picture]
