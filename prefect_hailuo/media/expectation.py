"""Whether a file is what was asked for: its length, its shape and its sound.

A file that is not is paid for all the same, and kept; what is said here is noted in its record.
"""

from __future__ import annotations

from collections.abc import Iterator

from prefect_hailuo.media.mp4 import Probe
from prefect_hailuo.models.endpoint import Form, Picture

SOUND_OVER_SECONDS = 0.05
"""How much the sound may outlast the picture."""


def notes_on(probe: Probe, picture: Picture) -> tuple[str, ...]:
    """What in a file is not as it was asked for; nothing where the model's files are not known.

    Args:
        probe: The file's measures.
        picture: What was asked for.

    Example:
        >>> from prefect_hailuo import H3TextToVideo
        >>> asked = H3TextToVideo(prompt="A fox.", resolution="480P").picture
        >>> notes_on(Probe(832, 480, 5.167, 24.0, "h264"), asked)
        ('it has no sound track, and the model makes one',)
    """
    return tuple(_notes(probe, picture, picture.form)) if picture.form else ()


def _notes(probe: Probe, picture: Picture, form: Form) -> Iterator[str]:
    asked, seconds = picture.duration_seconds, probe.duration_seconds
    most = asked + form.longer_seconds + SOUND_OVER_SECONDS
    if not asked - form.shorter_seconds <= seconds <= most:
        yield f"it lasts {seconds:g} s, and {asked:g} s were asked for"
    elif probe.frames and (probe.frames - form.grid[1]) % form.grid[0]:
        yield f"it has {probe.frames} frames, which is not on the model's grid"
    if probe.frames_per_second and abs(probe.frames_per_second - picture.frames_per_second) > 0.01:
        yield f"it has {probe.frames_per_second:g} frames a second, not {picture.frames_per_second}"
    if picture.is_shape_known:
        yield from _notes_on_shape(probe, picture, form)
    codec, channels, hertz = form.sound
    if probe.audio_codec is None:
        yield "it has no sound track, and the model makes one"
    elif (probe.audio_codec, probe.audio_channels, probe.audio_hz) != form.sound:
        has = f"{probe.audio_codec}, {probe.audio_channels} channels, {probe.audio_hz} Hz"
        yield f"its sound is {has}, not {codec}, {channels} channels, {hertz} Hz"


def _notes_on_shape(probe: Probe, picture: Picture, form: Form) -> Iterator[str]:
    ratio, asked = probe.width / probe.height, picture.width / picture.height
    short, lines = min(probe.width, probe.height), min(picture.width, picture.height)
    if abs(ratio / asked - 1) > form.ratio_share or abs(short / lines - 1) > form.side_share:
        yield (
            f"it is {probe.width}×{probe.height}, and about {picture.width}×{picture.height} was "
            "asked for"
        )
