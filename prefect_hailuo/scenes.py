"""The scenes of a storyboard: each a prompt, alone or going on from the picture before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefect_hailuo.catalogue import BatchItem
from prefect_hailuo.choices import AnyModel, needs_only_a_prompt
from prefect_hailuo.endpoints import CATALOGUE, Duration, VideoInput, find_input_class
from prefect_hailuo.errors import ConfigurationError

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
    duration: Duration | None = Field(
        default=None, description="Seconds, for a standard model; a pro one always makes 6."
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
        model: Which model makes those that do not say.
        prompt_optimizer: Whether MiniMax may rewrite the prompts of those that do not say.
        take: The take of those that do not say.

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
            fields["prompt_optimizer"] = scene.prompt_optimizer
            input_class = _class_of(scene)
            if scene.duration is not None and not _lasts_so(input_class, scene.duration):
                fields["duration"] = scene.duration
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
    """The scenes' places, those that go on from each other together."""
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
    start = named.endpoint.id.rpartition("/")[0]
    found = CATALOGUE.get(f"{start}/{other}")
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
