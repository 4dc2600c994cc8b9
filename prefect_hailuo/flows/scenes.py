"""A storyboard's scenes: how they are checked, made and shown.

`Script` holds the scenes in order and checks them. `Shooting` makes their videos: scenes that
continue no other are made at once, the others one after another. `Storyboard` is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefect_hailuo.engine.outcome import VideoOutcome, VideoOutcomes
from prefect_hailuo.errors import BatchError, Billed, ConfigurationError, HailuoError
from prefect_hailuo.flows.cards import CardPublisher
from prefect_hailuo.flows.model_names import AnyModel, needs_only_a_prompt
from prefect_hailuo.models.catalogue import (
    CATALOGUE,
    VideoInput,
    find_input_class,
    model_name,
)
from prefect_hailuo.models.money import told_usd
from prefect_hailuo.models.video import Video
from prefect_hailuo.runs.estimate import aestimate
from prefect_hailuo.runs.markdown import escape, facts, notice, table
from prefect_hailuo.runs.orders import BatchItem
from prefect_hailuo.runs.storage import Storage
from prefect_hailuo.tasks.batch import agenerate_videos, agenerate_videos_as_completed
from prefect_hailuo.tasks.clips import Clip, alast_frame

PICTURE = "image_url"
"""The field of an image endpoint's input that holds the first picture, as fal calls it."""

PROMPT_CHARACTERS = 40


class Scene(BaseModel):
    """A scene of a storyboard.

    Example:
        >>> Scene(prompt="The fox looks up.", continues=True).model
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # What a form says of it, which else would be the whole docstring.
        json_schema_extra={"description": "A scene of a storyboard."},
    )

    prompt: str = Field(description="What to show, 1 to 2000 characters.")
    continues: bool = Field(
        default=False,
        description="Whether it goes on from the last picture of the scene before; it is made "
        "after that one, by the model's image-to-video endpoint.",
    )
    model: AnyModel | None = Field(
        default=None, description="Which model makes it; by default, the storyboard's."
    )
    duration: int | None = Field(
        default=None,
        description="Seconds, for a model that has a choice: 6 or 10 for a standard one, 5 to 15 "
        "for Hailuo 3.",
    )
    resolution: str | None = Field(
        default=None, description="Such as 768P, for a model that has a choice."
    )
    take: int | str | None = Field(
        default=None,
        description="Which of several videos of the same scene; by default, the storyboard's.",
    )
    prompt_optimizer: bool | None = Field(
        default=None,
        description="Whether MiniMax may rewrite the prompt; by default, the storyboard's.",
    )


class Script:
    """The scenes of a storyboard, in order, all of them checked.

    Args:
        scenes: The scenes; a text is a prompt alone.
        model: The model of scenes that name none.
        prompt_optimizer: Whether MiniMax may rewrite the prompts of scenes that do not say.
        take: The take of scenes that do not say.

    Raises:
        ConfigurationError: One of them cannot be made; the message says which.

    Example:
        >>> script = Script(["A fox.", "An owl.", "A hare."], model="hailuo-02-pro")
        >>> len(script), script.chains, script.given(1).prompt
        (3, [[0], [1], [2]], 'An owl.')
    """

    def __init__(
        self,
        scenes: Sequence[str | Scene],
        *,
        model: str = "hailuo-2.3-pro",
        prompt_optimizer: bool = True,
        take: int | str = 0,
    ) -> None:
        if not scenes:
            raise ConfigurationError("The storyboard has no scenes.", cure="Pass some.")
        default = {"model": model, "prompt_optimizer": prompt_optimizer, "take": take}
        self.scenes = [_scene(number, each, default) for number, each in enumerate(scenes, 1)]
        self.chains = _chains(self.scenes)
        for index in range(len(self.scenes)):
            self.given(index, _stand_in(index))

    def __len__(self) -> int:
        return len(self.scenes)

    def given(self, index: int, picture: str | Path | bytes | None = None) -> VideoInput:
        """A scene's input.

        Args:
            index: Which scene.
            picture: The last picture of the one before, for a scene that continues it.

        Raises:
            ConfigurationError: The model does not take it.
        """
        scene = self.scenes[index]
        with _naming(index + 1, scene):
            fields: dict[str, Any] = {"prompt": scene.prompt}
            input_class = _class_of(scene)
            fields |= input_class.rewriting(scene.prompt_optimizer is not False)
            if scene.duration is not None and not _lasts_so(input_class, scene.duration):
                fields["duration"] = scene.duration
            if scene.resolution is not None:
                fields["resolution"] = scene.resolution
            if scene.continues:
                fields[PICTURE] = picture
            return input_class.model_validate(fields)

    def expected(self, index: int) -> BatchItem:
        """What a scene will ask for, as long as the picture that it goes on from is not there."""
        return BatchItem(input=self.given(index, _stand_in(index)), take=self.take(index))

    def take(self, index: int) -> int | str:
        """A scene's take."""
        return self.scenes[index].take or 0

    def name(self, index: int) -> str:
        """A scene as people are told of it."""
        return _name(index + 1, self.scenes[index])


def _stand_in(index: int) -> str:
    """A picture of which nothing is known, and which no other scene has."""
    return f"sha256:{index:064x}"


def _scene(number: int, given: str | Scene, default: dict[str, Any]) -> Scene:
    scene = Scene(prompt=given) if isinstance(given, str) else given
    if number == 1 and scene.continues:
        raise ConfigurationError(
            f"{_name(number, scene)}: there is no scene before the first; nothing was bought.",
            cure="Leave out its continues.",
        )
    left_out = {name: value for name, value in default.items() if getattr(scene, name) is None}
    return scene.model_copy(update=left_out)


def _chains(scenes: Sequence[Scene]) -> list[list[int]]:
    """The scenes' indices, in groups: each scene of a group continues the one before it."""
    chains: list[list[int]] = []
    for index, scene in enumerate(scenes):
        if scene.continues:
            chains[-1].append(index)
        else:
            chains.append([index])
    return chains


def _class_of(scene: Scene) -> type[VideoInput]:
    """The endpoint that a scene needs: of the same model, with a picture or without one."""
    named = find_input_class(scene.model or "")
    if scene.continues is not needs_only_a_prompt(named):
        return named
    other = "image-to-video" if scene.continues else "text-to-video"
    start, _, last = named.endpoint.id.rpartition("/")
    if not last.endswith("-to-video"):  # of video-01, a text's has no ending
        start = named.endpoint.id
    found = CATALOGUE.get(f"{start}/{other}") or (None if scene.continues else CATALOGUE.get(start))
    if found is None:
        raise ConfigurationError(
            f"{named.endpoint.name} has no {other} endpoint.", cure="Give it another model."
        )
    return found


def _lasts_so(input_class: type[VideoInput], duration: object) -> bool:
    """Whether a model without a choice of durations makes videos of this one.

    Raises:
        ConfigurationError: It makes others.
    """
    if "duration" in input_class.model_fields:
        return False
    seconds = input_class.endpoint.default.picture.duration_seconds
    if str(seconds) == str(duration):
        return True
    raise ConfigurationError(
        f"{input_class.endpoint.name} always makes {seconds} s; nothing was bought.",
        cure="Leave the duration out, or give it a standard model.",
    )


def _name(number: int, scene: Scene) -> str:
    return f"Scene {number} ({shorten(scene.prompt, PROMPT_CHARACTERS, placeholder='…')!r})"


@contextmanager
def _naming(number: int, scene: Scene) -> Iterator[None]:
    """Let an error say which scene it is about."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"{_name(number, scene)}: {where}: {first['msg']}; nothing was bought for it.",
            cure="Correct it, and run the storyboard again.",
        ) from error
    except ConfigurationError as error:
        raise type(error)(f"{_name(number, scene)}: {error.message}", cure=error.cure) from error


class Shooting:
    """What there is of a storyboard, and the way to the rest.

    Each chain is a list of scenes that go on from one another; its next scene is the first of them
    that is not there yet.

    Args:
        script: The scenes.
        options: Credentials, storage and budget, as for `generate_videos`.
    """

    def __init__(self, script: Script, options: dict[str, Any]) -> None:
        self._script = script
        self._options = options
        self._next: dict[int, tuple[int, VideoInput]] = {}
        self.outcomes: dict[int, VideoOutcome] = {}
        self.errors: dict[int, HailuoError] = {}
        for number, chain in enumerate(script.chains):
            self._next[number] = (chain[0], script.given(chain[0]))

    async def find(self) -> None:
        """Find what was stored before, which costs nothing."""
        while stored := await self._stored():
            wanted = [self._wanted(number) for number in stored]
            outcomes = await agenerate_videos(wanted, **self._options)
            await asyncio.gather(*map(self._advance, stored, outcomes))

    def rest(self) -> list[BatchItem]:
        """What is not there yet, in the chains' order. Where a scene's first picture is not there
        either, it has the stand-in of one."""
        rest: list[BatchItem] = []
        for number, (index, given) in self._next.items():
            chain = self._script.chains[number]
            rest.append(BatchItem(input=given, take=self._script.take(index)))
            rest += [self._script.expected(each) for each in chain if each > index]
        return rest

    async def make(self) -> None:
        """Make the rest. **This may spend money, for each.** What can be made now is, at once."""
        chains = list(self._next)
        if not chains:
            return
        wanted = [self._wanted(number) for number in chains]
        going_on: list[asyncio.Task[None]] = []
        try:
            async for outcome in agenerate_videos_as_completed(wanted, **self._options):
                follow = self._follow(chains[outcome.index], outcome)
                going_on.append(asyncio.create_task(follow))
            await asyncio.gather(*going_on)
        finally:
            for task in going_on:
                task.cancel()
            await asyncio.gather(*going_on, return_exceptions=True)

    def videos(self) -> list[Video]:
        """All the videos, in the scenes' order.

        Raises:
            BatchError: Some scenes have none; the message names them.
        """
        self._raise_for_failed()
        return [self.outcomes[index].result() for index in range(len(self._script))]

    def _raise_for_failed(self) -> None:
        failed = dict(sorted(self.errors.items()))
        if not failed:
            return
        said = [f"{self._script.name(index)} failed by {_say(e)}" for index, e in failed.items()]
        left = [n + 1 for n in range(len(self._script)) if n not in self.outcomes | self.errors]
        if left:
            said.append(f"not begun, for they go on from one that failed: {_listed(left)}")
        error = BatchError(
            f"{'; '.join(said)}.",
            cure="What was bought is kept, and a rerun goes on with it. "
            + " ".join(dict.fromkeys(each.cure for each in failed.values() if each.cure)),
            billed=Billed.of_all(each.billed for each in failed.values()),
            retryable=any(each.retryable for each in failed.values()),
        )
        error.outcomes = VideoOutcomes(each for _, each in sorted(self.outcomes.items()))
        raise error

    async def _stored(self) -> list[int]:
        """The chains whose next scene is stored."""
        if not self._next:
            return []
        numbers = list(self._next)
        wanted = [self._wanted(number) for number in numbers]
        known = await aestimate(wanted, credentials=self._options.get("credentials"))
        states = zip(numbers, known.lines, strict=True)
        return [number for number, line in states if line.state == "stored"]

    def _wanted(self, number: int) -> tuple[VideoInput, int | str]:
        index, given = self._next[number]
        return given, self._script.take(index)

    async def _follow(self, number: int, outcome: VideoOutcome) -> None:
        """Take a scene's outcome, and make the scenes that continue it, one after another."""
        await self._advance(number, outcome)
        while number in self._next:
            try:
                (outcome,) = await agenerate_videos([self._wanted(number)], **self._options)
            except HailuoError as error:  # the other chains go on
                index, _ = self._next.pop(number)
                self.errors[index] = error
            else:
                await self._advance(number, outcome)

    async def _advance(self, number: int, outcome: VideoOutcome) -> None:
        """Take a scene's outcome, and prepare the one that goes on from it."""
        index, _ = self._next.pop(number)
        if outcome.video is None:
            self.errors[index] = outcome.error or HailuoError("There is no video.")
            return
        self.outcomes[index] = outcome.model_copy(update={"index": index})
        if index == self._script.chains[number][-1]:
            return
        try:
            storage = self._options.get("storage")
            picture = await alast_frame(outcome.video, storage=storage)
            self._next[number] = (index + 1, self._script.given(index + 1, picture))
        except HailuoError as error:
            self.errors[index + 1] = error


def _say(error: HailuoError) -> str:
    return f"{type(error).__name__}: {error.message.rstrip('.')}"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


CARD_KEY = "hailuo-storyboard"
SCENES_KEY = "hailuo-storyboard-scenes"


class Storyboard(BaseModel):
    """What came of a storyboard.

    Args:
        title: What it is called.
        videos: The scenes' videos, in order.
        clip: The clip of them all.
    """

    title: str
    videos: list[Video]
    clip: Clip


def storyboard_card(board: Storyboard) -> str:
    """A storyboard's card, in Markdown: where the clip is, and a line for each scene."""
    clip = board.clip
    how = (
        f"coded once more, for {escape(clip.reencoded)}"
        if clip.reencoded
        else "copied as they were"
    )
    prices = [each.price_usd for each in board.videos]
    total = sum((each for each in prices if each), Decimal(0))
    cost = told_usd(total, clip.realm, prices.count(None))
    about = [
        ("Clip", f"`{clip.place}`"),
        ("Picture", f"{clip.width}×{clip.height}, {clip.frames_per_second:g} fps, {clip.codec}"),
        ("Length", f"{clip.duration_seconds:g} s"),
        ("Size", f"{clip.size:,} bytes"),
        ("Pictures", how),
        ("Scenes cost in all", cost),
    ]
    head = ["Scene", "Prompt", "Model", "Cost", "File"]
    scenes = [_row(number, each) for number, each in enumerate(board.videos, 1)]
    title = f"### {escape(board.title)}"
    return f"{notice(clip.realm)}{title}\n\n{facts(about)}\n\n{table(head, scenes)}\n"


def _row(number: int, video: Video) -> list[str]:
    cost = told_usd(video.price_usd, "fal")
    prompt = escape(video.prompt or "")
    return [str(number), prompt, model_name(video.endpoint), cost, f"`{video.place}`"]


def publish_storyboard(board: Storyboard, storage: Storage) -> None:
    """Show a storyboard in the run's artifacts; from a thread that may wait.

    Args:
        board: The storyboard.
        storage: Where its videos are.
    """
    numbered = [(str(number), video) for number, video in enumerate(board.videos, 1)]
    publisher = CardPublisher(escape(board.title))
    publisher.publish(CARD_KEY, lambda: storyboard_card(board))
    publisher.publish_posters(SCENES_KEY, numbered, storage)
