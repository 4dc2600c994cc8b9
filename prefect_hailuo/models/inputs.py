"""The base class of all inputs, and how an endpoint's class is found by its name."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from prefect_hailuo.errors import UnknownEndpointError
from prefect_hailuo.models.endpoint import Endpoint, Picture, Variant
from prefect_hailuo.models.image import media_of
from prefect_hailuo.models.request import Request

PROMPT_MAX_CHARACTERS = 2000
"""By fal's OpenAPI documents of the Hailuo endpoints, seen 2026-06-05."""


def _not_blank(prompt: str) -> str:
    # fal would accept and charge for it; an empty cell of a spreadsheet is no prompt.
    if not prompt.strip():
        raise ValueError("the prompt is blank; describe the video to make")
    return prompt


AnyPrompt = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
"""A prompt of any length."""

Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PROMPT_MAX_CHARACTERS,
        description="Text prompt for video generation, 1 to 2000 characters.",
    ),
    AfterValidator(_not_blank),
]

Duration = Annotated[
    Literal["6", "10", 6, 10],
    AfterValidator(str),
    WithJsonSchema(
        {
            "type": "string",
            "enum": ["6", "10"],
            "description": "The duration of the video in seconds; the longer one costs more.",
        }
    ),
]
"""Seconds: fal takes a text, by its OpenAPI documents, seen 2026-06-05. A number is accepted, and
becomes the text."""


class VideoInput(BaseModel):
    """The base of all inputs: one class for each endpoint, frozen; unknown fields are refused."""

    # A picture's URL may be signed, so no error shows what was given.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: ClassVar[Endpoint]
    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields added after the class was first released: at their default they stay out of the
    generation's key, so that a video bought before the field existed is still found."""

    prompt: AnyPrompt

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "endpoint" in cls.__dict__:
            CATALOGUE[cls.endpoint.id] = cls

    def body(self) -> dict[str, Any]:
        """The JSON body that fal is sent: all fields but those that are None.

        Example:
            >>> from prefect_hailuo import Hailuo23ProTextToVideo
            >>> Hailuo23ProTextToVideo(prompt="A red fox.").body()
            {'prompt': 'A red fox.', 'prompt_optimizer': True}
        """
        return self.model_dump(mode="json", exclude_none=True)

    def request(self) -> Request:
        """What is asked of the endpoint, with all that is known of it.

        Example:
            >>> from prefect_hailuo import Hailuo23ProTextToVideo
            >>> Hailuo23ProTextToVideo(prompt="A red fox.").request().expected_seconds
            110
        """
        fields = type(self).model_fields
        return Request(
            endpoint=self.endpoint.id,
            body=self.body(),
            price_usd=self.price_usd,
            expected_seconds=self.endpoint.expected_seconds,
            media=media_of(self),
            picture=self.picture,
            unkeyed=frozenset(
                name for name in self.later_fields if getattr(self, name) == fields[name].default
            ),
            cautions=self.cautions,
            impossible=self.impossible,
        )

    @classmethod
    def rewriting(cls, allowed: bool) -> dict[str, Any]:
        """The fields that say whether the model may rewrite the prompt.

        Args:
            allowed: Whether it may.

        Example:
            >>> from prefect_hailuo import H3TextToVideo, Hailuo23ProTextToVideo
            >>> Hailuo23ProTextToVideo.rewriting(False), H3TextToVideo.rewriting(False)
            ({'prompt_optimizer': False}, {'prompt_expansion_mode': 'disabled'})
        """
        return {}

    @property
    def cautions(self) -> tuple[str, ...]:
        """What in it may not do what it was meant to, for people to read."""
        return ()

    @property
    def impossible(self) -> str:
        """Why the model makes no video of these settings together; empty where it makes one."""
        return ""

    @property
    def variant(self) -> Variant:
        """What the endpoint makes of this input's settings, and what that costs."""
        settings = {name: getattr(self, name) for name in self.endpoint.default.settings}
        variant = self.endpoint.variant(settings)
        if variant is None:  # an endpoint declared without one of its variants
            raise LookupError(f"{self.endpoint.name} has no variant {settings}; declare it.")
        return variant

    @property
    def price_usd(self) -> Decimal | None:
        """What the video costs by the catalogue, in US dollars; None if that is not known.

        Example:
            >>> from prefect_hailuo import Hailuo23StandardTextToVideo
            >>> Hailuo23StandardTextToVideo(prompt="A red fox.", duration=10).price_usd
            Decimal('0.56')
        """
        return self.endpoint.price_usd(self.body())

    @property
    def picture(self) -> Picture:
        """What the video will look like.

        Example:
            >>> from prefect_hailuo import Hailuo23StandardTextToVideo
            >>> picture = Hailuo23StandardTextToVideo(prompt="A red fox.").picture
            >>> picture.height, picture.duration_seconds
            (768, 6)
        """
        ratio = getattr(self, "aspect_ratio", None)
        return self.endpoint.picture({**self.variant.settings, "aspect_ratio": ratio})


class OptimizedInput(VideoInput):
    """The base of the inputs of Hailuo 2.3, 02 and video-01: a prompt that MiniMax may rewrite."""

    prompt: Prompt
    prompt_optimizer: bool = Field(
        default=True,
        description="Whether to use the model's prompt optimizer; it may rewrite camera moves, "
        "so turn it off for designed shots.",
    )

    @classmethod
    def rewriting(cls, allowed: bool) -> dict[str, Any]:
        """The field that says whether MiniMax may rewrite the prompt."""
        return {"prompt_optimizer": allowed}


CATALOGUE: dict[str, type[VideoInput]] = {}
"""Every input class by its endpoint's id, in the order of declaration."""


def cautions_of(inputs: Iterable[VideoInput]) -> tuple[str, ...]:
    """The cautions about many inputs, each once.

    Example:
        >>> from prefect_hailuo import Hailuo23ProTextToVideo
        >>> len(cautions_of(Hailuo23ProTextToVideo(prompt=f"[Pan lef] {n}") for n in range(2)))
        1
    """
    return tuple(dict.fromkeys(text for each in inputs for text in each.cautions))


def find_input_class(name: str) -> type[VideoInput]:
    """The input class of an endpoint, by fal's id or by short name.

    Args:
        name: Such as `"hailuo-2.3-pro"` or `"fal-ai/minimax/hailuo-2.3/pro/text-to-video"`.

    Raises:
        UnknownEndpointError: There is no endpoint of this name; the message lists all names.

    Example:
        >>> find_input_class("hailuo-02-pro").__name__
        'Hailuo02ProTextToVideo'
    """
    for input_class in CATALOGUE.values():
        if name in (input_class.endpoint.id, input_class.endpoint.name):
            return input_class
    names = ", ".join(cls.endpoint.name for cls in CATALOGUE.values())
    raise UnknownEndpointError(f"There is no endpoint {name!r}.", cure=f"Use one of: {names}.")


def model_name(endpoint: str) -> str:
    """An endpoint's short name; its id, where the catalogue has it not.

    Example:
        >>> model_name("fal-ai/minimax/hailuo-02/pro/text-to-video"), model_name("a/b")
        ('hailuo-02-pro', 'a/b')
    """
    known = CATALOGUE.get(endpoint)
    return known.endpoint.name if known else endpoint
