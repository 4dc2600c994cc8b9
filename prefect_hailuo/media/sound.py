"""The sound of clips that are made of videos: copied, or coded once more in AAC.

A clip has a sound track if any of its videos has one. Where a video has none, or one that is
shorter than its picture, there is silence; what outlasts the picture is left out, so that sound and
picture stay together however many videos are joined.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from prefect_hailuo.media.filters import chain, pulled
from prefect_hailuo.media.probe import opened

if TYPE_CHECKING:
    from av.audio.fifo import AudioFifo
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

CODEC = "aac"

LAYOUT = "stereo"

SAMPLES = "fltp"
"""How FFmpeg's AAC takes its samples."""


class SoundForm(NamedTuple):
    """What must agree for coded sounds to stand in one track.

    Args:
        codec: How it is coded, in FFmpeg's words.
        parameters: The codec's parameters, which the decoder needs first.
        layout: Its channels.
        hertz: Samples a second.
        tick: Seconds; the unit of times.
    """

    codec: str
    parameters: bytes
    layout: str
    hertz: int
    tick: Fraction


def sound_form_of(path: Path) -> SoundForm | None:
    """What must agree with the other files for this one's sound to be copied; None: it has none.

    Raises:
        DownloadError: The file cannot be read as a video.
    """
    with opened(path) as (container, _):
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        context = stream.codec_context
        return SoundForm(
            context.name,
            bytes(context.extradata or b""),
            context.layout.name,
            context.sample_rate,
            Fraction(stream.time_base or 0),
        )


class SoundTrack(Protocol):
    """The sound track of a clip that is being written, in step with its picture."""

    def play(self, parts: Sequence[Path], at_seconds: float) -> None:
        """Let the sound of some files begin; of several, all at once. What was before ends."""

    def write_until(self, seconds: float) -> None:
        """Write the sound up to a time of the clip."""

    def finish(self, at_seconds: float) -> None:
        """Write what is left, up to the end of the clip."""


def sound_track(output: OutputContainer, parts: Sequence[Path], *, one_by_one: bool) -> SoundTrack:
    """The sound track of a clip; where none of its videos has sound, one that writes nothing.

    Args:
        output: The clip.
        parts: The videos.
        one_by_one: Whether they follow each other: then equally coded sound is copied.

    Raises:
        DownloadError: One of them cannot be read as a video.
    """
    forms = [sound_form_of(path) for path in parts]
    sounding = [form for form in forms if form is not None]
    if not sounding:
        return NoSound()
    if one_by_one and len(set(forms)) == 1:
        return CopiedSound(output, parts[0])
    return CodedSound(output, sounding[0].hertz)


class NoSound:
    """The track of a clip without sound: nothing is written."""

    def play(self, parts: Sequence[Path], at_seconds: float) -> None:
        """Do nothing."""

    def write_until(self, seconds: float) -> None:
        """Do nothing."""

    def finish(self, at_seconds: float) -> None:
        """Do nothing."""


class CopiedSound:
    """Copies coded sound as it is.

    Args:
        output: The clip.
        model: A file whose sound is coded as all of it.
    """

    def __init__(self, output: OutputContainer, model: Path) -> None:
        self._output = output
        with opened(model) as (container, _):
            self._track = output.add_stream_from_template(container.streams.audio[0])
        self._packets: Iterator[tuple[Packet[AudioStream], float]] = iter(())
        self._next: tuple[Packet[AudioStream], float] | None = None
        self._begin = 0.0
        self._last: int | None = None

    def play(self, parts: Sequence[Path], at_seconds: float) -> None:
        """Let the sound of a file begin."""
        self._packets, self._begin = _packets(parts[0]), at_seconds
        self._next = next(self._packets, None)

    def write_until(self, seconds: float) -> None:
        """Copy what begins before a time."""
        while self._next is not None and self._begin + self._next[1] < seconds:
            self._copy(self._next[0])
            self._next = next(self._packets, None)

    def finish(self, at_seconds: float) -> None:
        """Copy what begins before the end."""
        self.write_until(at_seconds)

    def _copy(self, packet: Packet[AudioStream]) -> None:
        if packet.pts is None or packet.dts is None or not packet.time_base:
            return
        shift = round(self._begin / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        if self._last is not None and packet.dts <= self._last:
            return  # what a coder puts before the first sample is heard only at the beginning
        self._last = packet.dts
        packet.stream = self._track
        self._output.mux(packet)


def _packets(path: Path) -> Iterator[tuple[Packet[AudioStream], float]]:
    """A file's coded sound, and when it begins, in seconds."""
    with opened(path) as (container, _):
        for packet in container.demux(container.streams.audio[0]):
            if packet.size and packet.pts is not None:
                yield packet, float(packet.pts * packet.time_base)


class CodedSound:
    """Codes sound in AAC, mixed where several play at once.

    Args:
        output: The clip.
        hertz: Samples a second.
    """

    def __init__(self, output: OutputContainer, hertz: int) -> None:
        from av.audio.fifo import AudioFifo

        self._output, self._hertz = output, hertz
        stream = output.add_stream(CODEC, rate=hertz, layout=LAYOUT)
        self._stream = cast("AudioStream", stream)
        self._frames: Iterator[AudioFrame] = iter(())
        self._ahead: AudioFifo = AudioFifo()
        self._written = 0

    def play(self, parts: Sequence[Path], at_seconds: float) -> None:
        """Let the sound of some files begin; silence, where none of them has any."""
        from av.audio.fifo import AudioFifo

        self._fill(at_seconds)
        self._ahead = AudioFifo()
        self._frames = mixed(parts, self._hertz)

    def write_until(self, seconds: float) -> None:
        """Code what is heard before a time."""
        missing = round(seconds * self._hertz) - self._written
        while self._ahead.samples < missing and (frame := next(self._frames, None)) is not None:
            frame.pts = None
            self._ahead.write(frame)
        count = min(missing, self._ahead.samples)
        if count > 0 and (sound := self._ahead.read(count)) is not None:
            self._code(sound)

    def finish(self, at_seconds: float) -> None:
        """Code the rest, and what the coder held back."""
        self._fill(at_seconds)
        self._output.mux(self._stream.encode(None))

    def _fill(self, seconds: float) -> None:
        """Bring the track to a time, with silence where nothing is left to be heard."""
        self.write_until(seconds)
        missing = round(seconds * self._hertz) - self._written
        if missing > 0:
            self._code(silence(missing))

    def _code(self, frame: AudioFrame) -> None:
        frame.sample_rate, frame.time_base = self._hertz, Fraction(1, self._hertz)
        frame.pts = self._written
        self._written += frame.samples
        self._output.mux(self._stream.encode(frame))


def silence(samples: int) -> AudioFrame:
    """So many samples of silence."""
    import av

    frame = av.AudioFrame(SAMPLES, LAYOUT, samples)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def mixed(parts: Sequence[Path], hertz: int) -> Iterator[AudioFrame]:
    """The sounds of some files, all at once; those without sound are left out.

    Args:
        parts: The files.
        hertz: Samples a second of the mixed sound.

    Raises:
        DownloadError: One of them cannot be read as a video.
    """
    from av.filter import Graph

    with ExitStack() as stack:
        containers = [stack.enter_context(opened(path))[0] for path in parts]
        sounding = [each for each in containers if each.streams.audio]
        if not sounding:
            return
        graph = Graph()
        begins = [graph.add_abuffer(template=each.streams.audio[0]) for each in sounding]
        mix = graph.add("amix", f"inputs={len(begins)}:duration=longest")
        for number, begin in enumerate(begins):
            begin.link_to(mix, 0, number)
        form = f"sample_fmts={SAMPLES}:sample_rates={hertz}:channel_layouts={LAYOUT}"
        sink = chain(graph, mix, ("aformat", form), ("abuffersink", ""))
        graph.configure()
        timed = [_timed(number, each) for number, each in enumerate(sounding)]
        for _, number, frame in heapq.merge(*timed, key=itemgetter(0, 1)):
            begins[number].push(frame)
            yield from pulled(sink)  # type: ignore[misc]


def _timed(
    number: int, container: InputContainer
) -> Iterator[tuple[float, int, AudioFrame | None]]:
    """A file's sound with its times, and None at the end."""
    time = 0.0
    for frame in container.decode(audio=0):
        time = frame.time or 0.0
        yield time, number, frame
    yield time, number, None
