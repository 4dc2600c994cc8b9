"""The Hailuo endpoints: one input class each, which carries the endpoint's facts.

To add an endpoint, declare its input class here and write its task stub in
`tasks.py`. The catalogue, the emulator, the command line and the documentation
follow from the declaration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from prefect_hailuo.errors import UnknownEndpointError

PROMPT_MAX_CHARACTERS = 2000
"""By fal's OpenAPI documents of the Hailuo endpoints, seen 2026-06-05."""


@dataclass(frozen=True)
class Price:
    """What fal charges, and where that is known from.

    Args:
        usd: US dollars a unit.
        unit: What is counted: a video, or a second of it.
        source: Where the figure was read.
        seen: When, as an ISO date or month.
    """

    usd: Decimal
    unit: Literal["video", "second"]
    source: str
    seen: str


@dataclass(frozen=True)
class Picture:
    """What a video looks like.

    Args:
        width: Pixels.
        height: Pixels.
        frames_per_second: Frames per second.
        duration_seconds: Seconds.
        source: Where the figures were read.
    """

    width: int
    height: int
    frames_per_second: int
    duration_seconds: int
    source: str


@dataclass(frozen=True)
class Endpoint:
    """The facts of one endpoint.

    Args:
        id: fal's endpoint id, as in `https://queue.fal.run/{id}`.
        name: The short name used on the command line.
        title: The name that fal's page carries.
        picture: What its videos look like.
        price: What it costs; None where that is not known.
        expected_seconds: How long a generation usually takes; third parties' reports, a prior
            for progress bars and pacing, never a limit.
        input_schema: The name of its input in fal's OpenAPI document.
        output_schema: The name of its output there.
        example: An input from fal's page.

    Example:
        >>> Hailuo23ProTextToVideo.endpoint.app
        'fal-ai/minimax'
        >>> Hailuo02ProTextToVideo.endpoint.price_usd
        Decimal('0.48')
    """

    id: str
    name: str
    title: str
    picture: Picture
    price: Price | None
    expected_seconds: float
    input_schema: str
    output_schema: str
    example: dict[str, Any] = field(hash=False)

    @property
    def app(self) -> str:
        """Owner and app, below which fal serves status, result and cancel."""
        return "/".join(self.id.split("/")[:2])

    @property
    def page(self) -> str:
        """The model's page at fal."""
        return f"https://fal.ai/models/{self.id}"

    @property
    def price_usd(self) -> Decimal | None:
        """What one video costs, in US dollars; None where that is not known."""
        if self.price is None:
            return None
        seconds = self.picture.duration_seconds if self.price.unit == "second" else 1
        return self.price.usd * seconds


def _not_blank(prompt: str) -> str:
    # fal would accept and charge for it; an empty cell of a spreadsheet is no prompt.
    if not prompt.strip():
        raise ValueError("the prompt is blank; describe the video to make")
    return prompt


Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PROMPT_MAX_CHARACTERS,
        description="Text prompt for video generation, 1 to 2000 characters.",
    ),
    AfterValidator(_not_blank),
]


class VideoInput(BaseModel):
    """The base of all inputs: frozen, unknown fields refused, one class an endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: ClassVar[Endpoint]
    later_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields added after the class was first released: at their default they stay out of the
    generation's key, so that a video bought before the field existed is still found."""

    prompt: Prompt
    prompt_optimizer: bool = Field(
        default=True,
        description="Whether to use the model's prompt optimizer; it may rewrite camera moves, "
        "so turn it off for designed shots.",
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "endpoint" in cls.__dict__:
            CATALOGUE[cls.endpoint.id] = cls

    def body(self) -> dict[str, Any]:
        """The JSON body that fal is sent: every field, by name.

        Example:
            >>> Hailuo23ProTextToVideo(prompt="A red fox.").body()
            {'prompt': 'A red fox.', 'prompt_optimizer': True}
        """
        return self.model_dump(mode="json")


CATALOGUE: dict[str, type[VideoInput]] = {}
"""Every input class by its endpoint's id, in the order of declaration."""


def find_input_class(name: str) -> type[VideoInput]:
    """The input class of an endpoint, by fal's id or by short name.

    Args:
        name: Such as `"hailuo-2.3-pro"` or `"fal-ai/minimax/hailuo-2.3/pro/text-to-video"`.

    Raises:
        UnknownEndpointError: No endpoint is called that; the message lists those that there are.

    Example:
        >>> find_input_class("hailuo-02-pro").__name__
        'Hailuo02ProTextToVideo'
    """
    for input_class in CATALOGUE.values():
        if name in (input_class.endpoint.id, input_class.endpoint.name):
            return input_class
    names = ", ".join(cls.endpoint.name for cls in CATALOGUE.values())
    raise UnknownEndpointError(f"There is no endpoint {name!r}.", cure=f"Use one of: {names}.")


PICTURE_1080P = Picture(
    width=1920,
    height=1080,
    frames_per_second=24,
    duration_seconds=6,
    source="1080p: the model's page at fal; 6 s at 24 fps: MiniMax's statement for 1080P, "
    "no schema of fal's carries it",
)


class Hailuo23ProTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 2.3 Pro, text to video, 1080p, 6 s, $0.49 a video.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: https://fal.ai/models/fal-ai/minimax/hailuo-2.3/pro/text-to-video; the limit of the
    prompt from fal's OpenAPI document, seen 2026-06-05; the price seen 2026-08.

    Example:
        >>> shot = Hailuo23ProTextToVideo(prompt="A red fox crosses a snowy field.")
        >>> shot.prompt_optimizer
        True
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-2.3/pro/text-to-video",
        name="hailuo-2.3-pro",
        title="MiniMax Hailuo 2.3 [Pro] (Text to Video)",
        picture=PICTURE_1080P,
        price=Price(Decimal("0.49"), "video", "fal's price text on the model's page", "2026-08"),
        expected_seconds=110,  # third parties report 40 to 180 s
        input_schema="ProTextToVideoHailuo23Input",
        output_schema="ProTextToVideoHailuo23Output",
        example={
            "prompt": "The camera follows the snowboarder as they carve down the mountain through "
            "deep powder, each turn sending up huge rooster tails of snow."
        },
    )


class Hailuo02ProTextToVideo(VideoInput):
    """Input of MiniMax Hailuo 02 Pro, text to video, 1080p, 6 s, $0.08 a second.

    Args:
        prompt: What to show, 1 to 2000 characters.
        prompt_optimizer: Whether MiniMax may rewrite the prompt; default true.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, or a field is unknown.

    Source: https://fal.ai/models/fal-ai/minimax/hailuo-02/pro/text-to-video; the limit of the
    prompt from fal's OpenAPI document, seen 2026-06-05; the price seen 2026-08.

    Example:
        >>> shot = Hailuo02ProTextToVideo(prompt="A galactic smuggler.", prompt_optimizer=False)
        >>> shot.endpoint.name
        'hailuo-02-pro'
    """

    endpoint: ClassVar[Endpoint] = Endpoint(
        id="fal-ai/minimax/hailuo-02/pro/text-to-video",
        name="hailuo-02-pro",
        title="MiniMax Hailuo 02 [Pro] (Text to Video)",
        picture=PICTURE_1080P,
        price=Price(Decimal("0.08"), "second", "fal's price text on the model's page", "2026-08"),
        expected_seconds=360,  # third parties report 4 to 8 minutes
        input_schema="ProTextToVideoHailuo02Input",
        output_schema="TextToVideoHailuo02Output",
        example={
            "prompt": "A Galactic Smuggler is a rogue figure with a cybernetic arm and a well-worn "
            "coat that hints at many dangerous escapades across the galaxy."
        },
    )


def model_name(endpoint: str) -> str:
    """An endpoint's short name; its id, where the catalogue has it not.

    Example:
        >>> model_name("fal-ai/minimax/hailuo-02/pro/text-to-video"), model_name("a/b")
        ('hailuo-02-pro', 'a/b')
    """
    known = CATALOGUE.get(endpoint)
    return known.endpoint.name if known else endpoint
