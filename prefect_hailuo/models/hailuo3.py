"""The endpoints of Hailuo 3, which fal calls MiniMax H3: one input class each, and their facts.

There are three families (H3, H3 Max, H3 Max Turbo) and three modes. Every video has sound. Two
seeds are two videos; so are two takes of an equal input, of which the models make what they like.
All figures were gathered 2026-11 from public material, and each carries its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from prefect_hailuo.models.endpoint import (
    AspectRatio,
    Endpoint,
    Form,
    Picture,
    Price,
    References,
    Variant,
)
from prefect_hailuo.models.image import H3Image, H3Sound, H3Video
from prefect_hailuo.models.inputs import AnyPrompt, VideoInput

H3_PROMPT_MAX_CHARACTERS = 50_000
"""By fal's OpenAPI documents of 2026-09-24. MiniMax itself says 7,000."""

LENGTHS = range(5, 16)
"""Whole seconds. H3 takes these alone (fal's OpenAPI, 2026-10-06). Max and Turbo take any from 0.92
to 15 since about 2026-10-02 (probes of 2026-10-08); here, these too."""

Family = Literal["h3", "h3-max", "h3-max-turbo"]

H3Resolution = Literal["480P", "768P", "2K", "4K"]

H3MaxResolution = Literal["480P", "768P", "1080P"]

AdaptiveRatio = Literal["adaptive", AspectRatio]

ExpansionMode = Literal["disabled", "fast", "balanced", "quality"]

LIST_PRICES: dict[tuple[Family, str], str] = {
    ("h3", "480P"): "0.05",
    ("h3", "768P"): "0.06",
    ("h3", "2K"): "0.13",
    ("h3", "4K"): "0.16",
    ("h3-max", "480P"): "0.05",
    ("h3-max", "768P"): "0.08",
    ("h3-max", "1080P"): "0.16",
    ("h3-max-turbo", "480P"): "0.025",
    ("h3-max-turbo", "768P"): "0.04",
    ("h3-max-turbo", "1080P"): "0.08",
}
"""US dollars a second, of the length that is asked for. Max (text and image to video) and Turbo had
promotions; the last, of 40 %, ended on 2026-10-15. These are the list prices, so that an estimate
is never below the bill."""

PRICES_SOURCE = "fal's texts, 2026-09-24, and tables that others keep of them, to 2026-10-08"
PRICES_SEEN = "2026-10-08"

SIZES = {
    "480P": (832, 480),
    "768P": (1344, 768),
    "1080P": (1920, 1080),
    "2K": (2560, 1440),
    "4K": (3840, 2160),
}
"""Pixels at 16:9: 768P and 2K as seen in files, 480P as fal says; 1080P and 4K are taken to be what
these words mean."""

SIZES_SOURCE = "files from fal's pages, opened 2026-09-27; 24 fps with sound in all of them"

H3_FORM = Form(
    grid=(17, 5),
    shorter_seconds=0.05,
    longer_seconds=0.75,
    sound=("aac", 2, 32_000),
    ratio_share=0.03,
    side_share=0.05,
    source="files from fal's pages, opened 2026-09-27: 5 s are 124 frames, 8 s are 192",
)
"""A file has 17n + 5 frames; its sound may outlast its picture by some 20 ms."""

BASE_REFERENCES = References(
    usd=Decimal("0.08"),
    free=5,
    image_units=1,
    sound_units=0,
    source="fal's text: 5 images are free, each further one is $0.08",
    seen="2026-09-24",
)

MAX_REFERENCES = References(
    usd=Decimal("0.00002"),
    free=4096,
    image_units=1024,
    sound_units=15 * 80,  # 80 tokens a second, 15 seconds at the most
    source="fal's text: 4,096 tokens are free, 1,000 more are $0.02, an image has 1,024",
    seen="2026-09-24",
)

MOST_REFERENCES = {"image": 9, "video": 3, "audio": 3}
MOST_REFERENCES_TOGETHER = 12
"""By fal's OpenAPI documents, 2026-09-24."""

MAX_APP = "fal-ai/minimax-h3-turbo"
"""The app that answers for H3 Max and Turbo at fal, seen 2026-09-27."""


def _variants(family: Family, *resolutions: str, is_shape_known: bool) -> tuple[Variant, ...]:
    """One for each resolution, the default first; each in any of the lengths."""

    def variant(resolution: str) -> Variant:
        width, height = SIZES[resolution]
        shape = Picture(width, height, 24, 5, SIZES_SOURCE, H3_FORM, is_shape_known)
        return Variant(shape, price(family, resolution), {"resolution": resolution}, LENGTHS)

    return tuple(map(variant, resolutions))


def price(family: Family, resolution: str) -> Price:
    """What a second costs by the list.

    Args:
        family: Which of the three.
        resolution: One that it has.

    Example:
        >>> price("h3-max-turbo", "1080P").usd * 15
        Decimal('1.20')
    """
    usd = Decimal(LIST_PRICES[family, resolution])
    return Price(usd, "second", PRICES_SOURCE, PRICES_SEEN)


_RESOLUTIONS: dict[Family, tuple[str, ...]] = {
    "h3": ("2K", "480P", "768P", "4K"),
    "h3-max": ("768P", "480P", "1080P"),
    "h3-max-turbo": ("768P", "480P", "1080P"),
}
"""The default first."""

_TITLES: dict[Family, str] = {
    "h3": "MiniMax H3",
    "h3-max": "MiniMax H3 Max",
    "h3-max-turbo": "MiniMax H3 Max Turbo",
}

SECONDS_OF_H3 = 27
SECONDS_OF_MAX = 6
SECONDS_OF_MAX_REFERENCE = 15
"""Reports of 2026-08 to 2026-10: H3 4 s at 480P, 69 s with a reference, minutes (inferred) at 2K
and 4K; Max and Turbo 2 to 14 s, Max with references 8 to 19 s."""


def _output_fields(family: Family, mode: str) -> tuple[str, ...]:
    """By fal's OpenAPI documents, 2026-09-24 to 2026-10-06, and recorded answers, 2026-10-07."""
    if family == "h3":
        return ("expanded_prompt",)
    seed = ("seed",) if mode == "reference" else ()
    return ("expanded_prompt", *seed, "timings")


def _endpoint(
    family: Family, mode: Literal["text", "image", "reference"], seconds: float, **more: Any
) -> Endpoint:
    short = family if mode == "text" else f"{family}-{mode}"
    schema = _TITLES[family].removeprefix("MiniMax ").replace(" ", "") + mode.title() + "ToVideo"
    return Endpoint(
        id=f"minimax/{family}/{mode}-to-video",
        name=short,
        title=f"{_TITLES[family]} {mode.title()} to Video",
        variants=_variants(family, *_RESOLUTIONS[family], is_shape_known=mode == "text"),
        expected_seconds=seconds,
        input_schema=f"{schema}Input",
        output_schema=f"{schema}Output",
        billed=price(family, "480P"),
        served_as=None if family == "h3" else MAX_APP,
        output_fields=_output_fields(family, mode),
        exact_types=True,  # by probes of 2026-10-08
        **more,
    )


FOX = {"prompt": "A red fox crosses a snowy field at dawn; the snow creaks under its feet."}

FOX_IMAGE = {**FOX, "image_url": "https://v3.fal.media/files/elephant/fox.png"}

FOX_REFERENCES = {
    "prompt": "The fox of Image 1 crosses the field of Image 2.",
    "reference_image_urls": [
        "https://v3.fal.media/files/elephant/fox.png",
        "https://v3.fal.media/files/elephant/field.png",
    ],
}


def _none_if_empty(given: Any) -> Any:
    return None if isinstance(given, list | tuple) and not given else given


def _tuple(given: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if given is None else tuple(given)


def _list_said(kind: str, most: int) -> Any:
    return Field(
        max_length=most,
        description=f"At most {most}; the prompt calls them {kind} 1, {kind} 2 and so on.",
    )


ReferenceImages = Annotated[
    Annotated[Sequence[H3Image], _list_said("Image", MOST_REFERENCES["image"])] | None,
    BeforeValidator(_none_if_empty),
    AfterValidator(_tuple),
]
"""The images that a video of references is made of."""

ReferenceVideos = Annotated[
    Annotated[Sequence[H3Video], _list_said("Video", MOST_REFERENCES["video"])] | None,
    BeforeValidator(_none_if_empty),
    AfterValidator(_tuple),
]
"""The same of videos."""

ReferenceSounds = Annotated[
    Annotated[Sequence[H3Sound], _list_said("Audio", MOST_REFERENCES["audio"])] | None,
    BeforeValidator(_none_if_empty),
    AfterValidator(_tuple),
]
"""The same of sounds."""


class H3Input(VideoInput):
    """The base of the inputs of Hailuo 3.

    What decides the price, and whether the prompt is rewritten, is always sent: fal's defaults
    differ by family, and may change.
    """

    prompt: Annotated[
        AnyPrompt,
        Field(
            max_length=H3_PROMPT_MAX_CHARACTERS,
            description="What to show and what to hear, 1 to 50000 characters.",
        ),
    ]
    duration: int = Field(
        default=5, ge=LENGTHS[0], le=LENGTHS[-1], description="Whole seconds, 5 to 15."
    )
    seed: int | None = Field(
        default=None,
        description="Any whole number; two seeds are two videos. For another try of an equal "
        "input, change the take instead.",
    )
    prompt_expansion_mode: ExpansionMode = Field(
        default="balanced",
        description='How far the model rewrites the prompt; "disabled" for designed shots. '
        '"quality" takes half a minute more.',
    )
    enable_safety_checker: bool = Field(default=True, description="Whether fal checks the video.")

    @classmethod
    def rewriting(cls, allowed: bool) -> dict[str, Any]:
        """The field that says that the model may not rewrite the prompt."""
        return {} if allowed else {"prompt_expansion_mode": "disabled"}


class _Base(H3Input):
    resolution: H3Resolution = Field(
        default="2K",
        description="Lines of the video; fewer cost less. 2K is the default, and dear.",
    )


class _Max(H3Input):
    resolution: H3MaxResolution = Field(
        default="768P", description="Lines of the video; fewer cost less."
    )


class _Text(H3Input):
    aspect_ratio: AspectRatio = Field(default="16:9", description="The video's shape.")
    target_audio_url: H3Sound | None = None


class _Image(H3Input):
    image_url: H3Image | None = None
    end_image_url: H3Image | None = None
    target_audio_url: H3Sound | None = None

    @model_validator(mode="after")
    def _check_picture(self) -> Self:
        if self.image_url is None and self.end_image_url is None:
            raise ValueError(
                "there is no picture; without one, fal would make a video of the text alone, at "
                "the full price: pass image_url, end_image_url or both"
            )
        return self


class _Reference(H3Input):
    may_be_sound_alone: ClassVar[bool] = False

    aspect_ratio: AdaptiveRatio = Field(
        default="adaptive", description="The video's shape; adaptive: the references decide."
    )
    reference_image_urls: ReferenceImages = None
    reference_video_urls: ReferenceVideos = None
    reference_audio_urls: ReferenceSounds = None

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        images, videos, sounds = (
            len(each or ())
            for each in (
                self.reference_image_urls,
                self.reference_video_urls,
                self.reference_audio_urls,
            )
        )
        together = images + videos + sounds
        if not together:
            raise ValueError("there is no reference; pass an image, a video or a sound")
        if together > MOST_REFERENCES_TOGETHER:
            raise ValueError(
                f"there are {together} references; together they may be "
                f"{MOST_REFERENCES_TOGETHER} at most"
            )
        if not (images or videos or self.may_be_sound_alone):
            raise ValueError(
                "sound is the only reference; pass an image or a video too, or take H3 Max"
            )
        return self


class H3TextToVideo(_Base, _Text):
    """Input of MiniMax H3 (Hailuo 3), text to video with sound: 480P to 4K, 5 to 15 s.

    Two seeds are two videos. A `take` is another try of an equal input, of which the model makes
    what it likes: for a video that can be asked for again, choose a seed and turn the expansion of
    the prompt off.

    Args:
        prompt: What to show and what to hear, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5. The file is up to 0.75 s longer, free of
            charge.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.06, `"2K"` at $0.13, `"4K"` at $0.16;
            default `"2K"`.
        aspect_ratio: `"21:9"`, `"16:9"`, `"4:3"`, `"1:1"`, `"3:4"` or `"9:16"`; default `"16:9"`.
        target_audio_url: The sound track, in place of what the model would make: a URL, a path,
            bytes or a `data:` URI; WAV or MP3 of at least 2 s.

    Raises:
        pydantic.ValidationError: The prompt is blank or too long, a setting is not one of those
            that there are, or a field is unknown.

    Source: fal's OpenAPI documents of 2026-09-24 to 2026-10-06; the prices seen 2026-10-08.

    Example:
        >>> H3TextToVideo(prompt="A red fox.").price_usd
        Decimal('0.65')
        >>> H3TextToVideo(prompt="A red fox.", resolution="768P", duration=15).price_usd
        Decimal('0.90')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("h3", "text", SECONDS_OF_H3, example=FOX)


class H3ImageToVideo(_Base, _Image):
    """Input of MiniMax H3 (Hailuo 3), image to video with sound: 480P to 4K, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What happens and what is heard, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.06, `"2K"` at $0.13, `"4K"` at $0.16;
            default `"2K"`.
        image_url: The picture to begin with, if any: a URL, a path, bytes or a `data:` URI; JPEG,
            PNG, WebP or HEIC. It decides the shape.
        end_image_url: The picture to end with, if any. One of the two must be there.
        target_audio_url: The sound track, in place of what the model would make; WAV or MP3 of at
            least 2 s.

    Raises:
        pydantic.ValidationError: There is no picture, the prompt or a setting is invalid, or a
            field is unknown.

    Source: fal's OpenAPI documents of 2026-09-24 to 2026-10-06; the prices seen 2026-10-08.

    Example:
        >>> shot = H3ImageToVideo(prompt="It turns.", end_image_url="https://example.com/end.png")
        >>> shot.price_usd
        Decimal('0.65')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("h3", "image", SECONDS_OF_H3, example=FOX_IMAGE)


class H3ReferenceToVideo(_Base, _Reference):
    """Input of MiniMax H3 (Hailuo 3), a video with sound of references: 480P to 4K, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What happens and what is heard, 1 to 50000 characters. It calls the references
            "Image 1", "Video 1", "Audio 1" and so on.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.06, `"2K"` at $0.13, `"4K"` at $0.16;
            default `"2K"`.
        aspect_ratio: `"adaptive"`, or as for `H3TextToVideo`; default `"adaptive"`.
        reference_image_urls: At most 9; five are free, each further one costs $0.08.
        reference_video_urls: At most 3, MP4 or MOV, each of 2 to 15 s, together at most 15 s. With
            one, the price is not known.
        reference_audio_urls: At most 3, WAV or MP3, of the same lengths; never alone. All
            references together may be 12.

    Raises:
        pydantic.ValidationError: There are too many references or none, the prompt or a setting is
            invalid, or a field is unknown.

    Source: fal's OpenAPI documents of 2026-09-24 to 2026-10-06; the prices seen 2026-10-08.

    Example:
        >>> foxes = [f"https://example.com/{n}.png" for n in range(6)]
        >>> H3ReferenceToVideo(prompt="They meet.", reference_image_urls=foxes).price_usd
        Decimal('0.73')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "h3", "reference", SECONDS_OF_H3, example=FOX_REFERENCES, references=BASE_REFERENCES
    )


class H3MaxTextToVideo(_Max, _Text):
    """Input of MiniMax H3 Max, text to video with sound: 480P to 1080P, 5 to 15 s, by the second.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What to show and what to hear, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.08, `"1080P"` at $0.16; default
            `"768P"`.
        aspect_ratio: As for `H3TextToVideo`; default `"16:9"`.
        target_audio_url: The sound track, in place of what the model would make; WAV or MP3 of at
            least 2 s.

    Raises:
        pydantic.ValidationError: The prompt or a setting is invalid, or a field is unknown.

    Source: fal's OpenAPI documents and probes, 2026-09-24 to 2026-10-08; prices seen 2026-10-08.

    Example:
        >>> H3MaxTextToVideo(prompt="A red fox.").price_usd
        Decimal('0.40')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("h3-max", "text", SECONDS_OF_MAX, example=FOX)


class H3MaxImageToVideo(_Max, _Image):
    """Input of MiniMax H3 Max, image to video with sound: 480P to 1080P, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What happens and what is heard, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.08, `"1080P"` at $0.16; default
            `"768P"`.
        image_url: The picture to begin with, if any; as for `H3ImageToVideo`.
        end_image_url: The picture to end with, if any. One of the two must be there.
        target_audio_url: The sound track, in place of what the model would make; WAV or MP3 of at
            least 2 s.

    Raises:
        pydantic.ValidationError: There is no picture, the prompt or a setting is invalid, or a
            field is unknown.

    Source: fal's OpenAPI documents and probes, 2026-09-24 to 2026-10-08; prices seen 2026-10-08.

    Example:
        >>> fields = {"prompt": "It turns.", "image_url": "https://example.com/fox.png"}
        >>> H3MaxImageToVideo(**fields, resolution="1080P").price_usd
        Decimal('0.80')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("h3-max", "image", SECONDS_OF_MAX, example=FOX_IMAGE)


class H3MaxReferenceToVideo(_Max, _Reference):
    """Input of MiniMax H3 Max, a video with sound of references: 480P to 1080P, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What happens and what is heard, 1 to 50000 characters. It calls the references
            "Image 1", "Video 1", "Audio 1" and so on.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and tells it in the output.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.05 a second, `"768P"` at $0.08, `"1080P"` at $0.16; default
            `"768P"`.
        aspect_ratio: `"adaptive"`, or as for `H3TextToVideo`; default `"adaptive"`.
        reference_image_urls: At most 9. Four images are free, each further one costs $0.02048;
            first, middle and last pictures are counted among them.
        reference_video_urls: At most 3, MP4 or MOV, each of 2 to 15 s, together at most 15 s. With
            one, the price is not known.
        reference_audio_urls: At most 3, WAV or MP3, of the same lengths. All references together
            may be 12.
        image_url: The picture to begin with, if any.
        end_image_url: The picture to end with, if any.
        middle_image_url: A picture in between, if any: it needs both others, and 480P or 768P.
        middle_frame_time: When it is shown, in seconds: more than 0 and less than 15.

    Raises:
        pydantic.ValidationError: There are too many references or none, the pictures do not fit
            together, the prompt or a setting is invalid, or a field is unknown.

    Source: fal's OpenAPI documents and probes, 2026-09-24 to 2026-10-08; prices seen 2026-10-08.

    Example:
        >>> foxes = [f"https://example.com/{n}.png" for n in range(5)]
        >>> H3MaxReferenceToVideo(prompt="They meet.", reference_image_urls=foxes).price_usd
        Decimal('0.42048')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "h3-max",
        "reference",
        SECONDS_OF_MAX_REFERENCE,
        example=FOX_REFERENCES,
        references=MAX_REFERENCES,
    )
    may_be_sound_alone: ClassVar[bool] = True

    image_url: H3Image | None = None
    end_image_url: H3Image | None = None
    middle_image_url: H3Image | None = None
    middle_frame_time: float | None = Field(
        default=None, gt=0, lt=15, description="Seconds: when the middle picture is shown."
    )

    @model_validator(mode="after")
    def _check_middle(self) -> Self:
        if self.middle_image_url is None:
            if self.middle_frame_time is not None:
                raise ValueError("middle_frame_time is there, but no middle_image_url")
            return self
        if self.image_url is None or self.end_image_url is None:
            raise ValueError("middle_image_url needs image_url and end_image_url too")
        if self.resolution == "1080P":
            raise ValueError("middle_image_url needs a resolution of 480P or 768P")
        return self

    @property
    def cautions(self) -> tuple[str, ...]:
        """What fal was seen to fail at, and does not charge for."""
        if self.reference_video_urls and self.image_url is not None:
            return (
                "fal was seen to fail (downstream_service_unavailable) with a first picture and a "
                "reference video together, 2026-09.",
            )
        return ()


class H3MaxTurboTextToVideo(_Max, _Text):
    """Input of MiniMax H3 Max Turbo, text to video with sound: 480P to 1080P, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What to show and what to hear, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.025 a second, `"768P"` at $0.04, `"1080P"` at $0.08; default
            `"768P"`.
        aspect_ratio: As for `H3TextToVideo`; default `"16:9"`.
        target_audio_url: The sound track, in place of what the model would make; WAV or MP3 of at
            least 2 s.

    Raises:
        pydantic.ValidationError: The prompt or a setting is invalid, or a field is unknown.

    Source: fal's OpenAPI documents and probes, 2026-09-24 to 2026-10-08; prices seen 2026-10-08.

    Example:
        >>> shot = H3MaxTurboTextToVideo(prompt="A red fox.", duration=15, resolution="1080P")
        >>> shot.price_usd
        Decimal('1.20')
    """

    endpoint: ClassVar[Endpoint] = _endpoint("h3-max-turbo", "text", SECONDS_OF_MAX, example=FOX)


class H3MaxTurboImageToVideo(_Max, _Image):
    """Input of MiniMax H3 Max Turbo, image to video with sound: 480P to 1080P, 5 to 15 s.

    Two seeds are two videos; a `take` is another try of an equal input.

    Args:
        prompt: What happens and what is heard, 1 to 50000 characters.
        duration: Whole seconds, 5 to 15; default 5.
        seed: Any whole number; None: fal chooses one, and does not tell it.
        prompt_expansion_mode: `"disabled"`, `"fast"`, `"balanced"` or `"quality"`; default
            `"balanced"`.
        enable_safety_checker: Whether fal checks the video. Default true.
        resolution: `"480P"` at $0.025 a second, `"768P"` at $0.04, `"1080P"` at $0.08; default
            `"768P"`.
        image_url: The picture to begin with, if any; as for `H3ImageToVideo`.
        end_image_url: The picture to end with, if any. One of the two must be there.
        target_audio_url: The sound track, in place of what the model would make; WAV or MP3 of at
            least 2 s.

    Raises:
        pydantic.ValidationError: There is no picture, the prompt or a setting is invalid, or a
            field is unknown.

    Source: fal's OpenAPI documents and probes, 2026-09-24 to 2026-10-08; prices seen 2026-10-08.

    Example:
        >>> fields = {"prompt": "It turns.", "image_url": "https://example.com/fox.png"}
        >>> H3MaxTurboImageToVideo(**fields).price_usd
        Decimal('0.20')
    """

    endpoint: ClassVar[Endpoint] = _endpoint(
        "h3-max-turbo", "image", SECONDS_OF_MAX, example=FOX_IMAGE
    )
