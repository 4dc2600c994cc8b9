"""What is known of an endpoint: what its videos look like, what they cost, and how it is called.

The figures of the Hailuo family are here, each with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, get_args


@dataclass(frozen=True)
class Price:
    """What fal charges, and the source of that.

    Args:
        usd: US dollars a unit.
        unit: What is counted: a video, or a second of it.
        source: Where the figure was read.
        seen: When it was read, as an ISO date or month.
    """

    usd: Decimal
    unit: Literal["video", "second"]
    source: str
    seen: str


@dataclass(frozen=True)
class Form:
    """What a model's files have in common, by which a file is judged.

    Args:
        grid: The number of frames is so many times a whole number, and so many more.
        shorter_seconds: How much shorter than asked for the picture may be, in seconds.
        longer_seconds: How much longer.
        sound: The sound track as FFmpeg calls its codec, its channels and its samples a second.
        ratio_share: How far the shape may be off, as a share of it.
        side_share: The same of the shorter side.
        source: Where that was read, and when.
    """

    grid: tuple[int, int]
    shorter_seconds: float
    longer_seconds: float
    sound: tuple[str, int, int]
    ratio_share: float
    side_share: float
    source: str


@dataclass(frozen=True)
class Picture:
    """What a video looks like.

    Args:
        width: Pixels.
        height: Pixels.
        frames_per_second: Frames per second.
        duration_seconds: Seconds, as they are asked for.
        source: Where the figures were read.
        form: What else is known of the model's files; None: nothing.
        is_shape_known: Whether the sides are those of the file, and not of a picture that it
            begins with.
    """

    width: int
    height: int
    frames_per_second: int
    duration_seconds: int
    source: str
    form: Form | None = None
    is_shape_known: bool = True

    @property
    def frame_count(self) -> int:
        """How many frames the file has: what was asked for, rounded up to the model's grid."""
        asked = self.frames_per_second * self.duration_seconds
        if self.form is None:
            return asked
        step, more = self.form.grid
        return -((more - asked) // step) * step + more


@dataclass(frozen=True)
class Variant:
    """What an endpoint makes with certain settings, and what that costs.

    Args:
        picture: What the video looks like.
        price: What it costs; None if that is not known.
        settings: The fields of the input that choose it, and their values; empty if all videos of
            the endpoint are alike.
        lengths: The durations that an input may choose of it, in whole seconds; None: it has that
            of the picture alone.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> Hailuo23StandardTextToVideo.endpoint.variants[1].settings
        {'duration': '10'}
    """

    picture: Picture
    price: Price | None
    settings: Mapping[str, str | int] = field(default_factory=dict, hash=False)
    lengths: range | None = None

    def chosen(self, settings: Mapping[str, Any]) -> Variant | None:
        """The variant as some settings choose it; None where they choose another.

        Args:
            settings: All that choose a variant of the endpoint.

        Example:
            >>> from prefect_hailuo import H3TextToVideo
            >>> largest = H3TextToVideo.endpoint.variants[-1]
            >>> largest.chosen({"resolution": "4K", "duration": 15}).price_usd
            Decimal('2.40')
        """
        if self.lengths is None:
            return self if self.settings == settings else None
        seconds = settings.get("duration")
        if not isinstance(seconds, int) or seconds not in self.lengths:
            return None
        if {**self.settings, "duration": seconds} != settings:
            return None
        picture = replace(self.picture, duration_seconds=seconds)
        return replace(self, picture=picture, settings=dict(settings))

    @property
    def price_usd(self) -> Decimal | None:
        """What one video costs, in US dollars; None if that is not known."""
        if self.price is None:
            return None
        seconds = self.picture.duration_seconds if self.price.unit == "second" else 1
        return _in_cents(self.price.usd * seconds)


def _in_cents(usd: Decimal) -> Decimal:
    """Dollars with two decimal places; more only if there is a fraction of a cent."""
    cents = usd.quantize(Decimal("0.01"))
    return cents if cents == usd else usd


@dataclass(frozen=True)
class References:
    """What references cost, beyond the price of the video.

    Args:
        usd: US dollars a unit.
        free: Units that cost nothing.
        image_units: Units of an image.
        sound_units: Units of all sounds together, at the most.
        source: Where that was read.
        seen: When, as an ISO date or month.

    Example:
        >>> from prefect_hailuo import H3ReferenceToVideo
        >>> H3ReferenceToVideo.endpoint.references.usd_of({"reference_image_urls": ["a"] * 7})
        Decimal('0.16')
    """

    usd: Decimal
    free: int
    image_units: int
    sound_units: int
    source: str
    seen: str

    def usd_of(self, body: Mapping[str, Any]) -> Decimal | None:
        """What the references of a request's body cost; None where that is not known."""
        if body.get("reference_video_urls"):
            return None
        images = len(body.get("reference_image_urls") or ())
        images += sum(body.get(name) is not None for name in FRAMES)
        sounds = bool(body.get("reference_audio_urls"))
        units = images * self.image_units + sounds * self.sound_units
        return self.usd * max(0, units - self.free)


FRAMES = ("image_url", "middle_image_url", "end_image_url")
"""The fields that hold pictures of the video itself. Whether they count as references is not known:
they do here, so that an estimate does not come out below the bill."""


@dataclass(frozen=True)
class Endpoint:
    """The facts of one endpoint.

    Args:
        id: fal's endpoint id, as in `https://queue.fal.run/{id}`.
        name: The short name used on the command line.
        title: The name that fal's page carries.
        variants: What it makes and what that costs, by the settings that choose it; the first is
            for its defaults.
        expected_seconds: How long a generation usually takes, by third parties' reports: an
            estimate for progress bars and pacing, never a limit.
        input_schema: The name of its input in fal's OpenAPI document.
        output_schema: The name of its output there.
        example: An input from fal's page.
        billed: The price of fal's unit, where it is not that of the defaults.
        references: What references cost; None: it takes none.
        served_as: The app that answers at fal, where it is another than the id names.
        output_fields: What its output has besides the video.
        exact_types: Whether fal refuses a text in the place of a number, whatever it says.

    Example:
        >>> from prefect_hailuo import Hailuo23StandardTextToVideo
        >>> Hailuo23StandardTextToVideo.endpoint.app
        'fal-ai/minimax'
        >>> Hailuo23StandardTextToVideo.endpoint.price_usd({"duration": "10"})
        Decimal('0.56')
    """

    id: str
    name: str
    title: str
    variants: tuple[Variant, ...]
    expected_seconds: float
    input_schema: str
    output_schema: str
    example: dict[str, Any] = field(hash=False)
    billed: Price | None = None
    references: References | None = None
    served_as: str | None = None
    output_fields: tuple[str, ...] = ()
    exact_types: bool = False

    @property
    def unit_price(self) -> Price | None:
        """The price of what fal counts; None where that is not known."""
        return self.billed or self.default.price

    @property
    def app(self) -> str:
        """Owner and app, below which fal serves status, result and cancel."""
        return "/".join(self.id.split("/")[:2])

    @property
    def page(self) -> str:
        """The model's page at fal."""
        return f"https://fal.ai/models/{self.id}"

    @property
    def category(self) -> Literal["text-to-video", "image-to-video"]:
        """fal's category of the model, which its id tells."""
        return "text-to-video" if self.mode == "text to video" else "image-to-video"

    @property
    def mode(self) -> str:
        """What a video is made of, in words."""
        last = self.id.rpartition("/")[2]
        for mode in ("image to video", "reference to video", "subject reference"):
            if last.endswith(mode.replace(" ", "-")):
                return mode
        return "text to video"

    @property
    def default(self) -> Variant:
        """What it makes of an input with the required fields only."""
        first = self.variants[0]
        if first.lengths is None:
            return first
        seconds = first.picture.duration_seconds
        return replace(first, settings={**first.settings, "duration": seconds})

    def variant(self, body: Mapping[str, Any]) -> Variant | None:
        """What it makes of a request's body; None for a body that it would refuse.

        Args:
            body: The settings, as they are sent; one that is left out has its default.
        """
        asked = {name: body.get(name, value) for name, value in self.default.settings.items()}
        found = (each.chosen(asked) for each in self.variants)
        return next((each for each in found if each is not None), None)

    def picture(self, body: Mapping[str, Any]) -> Picture:
        """What the video of a request's body looks like; by the defaults, if it would be refused.

        Args:
            body: The settings, as they are sent.

        Example:
            >>> from prefect_hailuo import H3TextToVideo
            >>> asked = {"resolution": "768P", "aspect_ratio": "9:16"}
            >>> tall = H3TextToVideo.endpoint.picture(asked)
            >>> tall.width, tall.height
            (768, 1344)
        """
        picture = (self.variant(body) or self.default).picture
        ratio = body.get("aspect_ratio")
        return in_ratio(picture, ratio) if ratio in RATIOS else picture

    def price_usd(self, body: Mapping[str, Any] | None) -> Decimal | None:
        """What the video of a request costs, in US dollars.

        Args:
            body: The request's body; None if it is not known.

        Returns:
            None if no price is known, or which of several applies is not known.
        """
        if body is not None:
            variant, more = self.variant(body), self.surcharge_usd(body)
            usd = variant.price_usd if variant else None
            return None if usd is None or more is None else _in_cents(usd + more)
        prices = {each.price_usd for each in self.variants}
        is_one = len(prices) == 1 and self.default.lengths is None
        return prices.pop() if is_one else None

    def surcharge_usd(self, body: Mapping[str, Any]) -> Decimal | None:
        """What the references of a request cost beyond the video, in US dollars.

        Args:
            body: The request's body.

        Returns:
            None if that is not known.
        """
        return self.references.usd_of(body) if self.references else Decimal(0)


AspectRatio = Literal["21:9", "16:9", "4:3", "1:1", "3:4", "9:16"]
"""The shapes that Hailuo 3 makes, by fal's OpenAPI documents, 2026-09-24."""

RATIOS: tuple[str, ...] = get_args(AspectRatio)

SIDE_STEP = 32
"""Pixels: the longer side is a multiple of it, as far as files were seen (2026-09-27)."""

WIDE_768 = (1536, 672)
"""What 21:9 is at 768P, seen 2026-09-27: MiniMax limits the area there to 1,032,192 pixels."""


def in_ratio(picture: Picture, ratio: str) -> Picture:
    """A picture in another shape; its shorter side stays, and says the resolution.

    Args:
        picture: Of Hailuo 3.
        ratio: One of `RATIOS`.
    """
    short = min(picture.width, picture.height)
    across, down = map(int, ratio.split(":"))
    long = short * max(across, down) // min(across, down) // SIDE_STEP * SIDE_STEP
    sides = (max(long, short), short)
    if (short, ratio) == (768, "21:9"):
        sides = WIDE_768
    width, height = sides if across >= down else sides[::-1]
    return replace(picture, width=width, height=height, is_shape_known=True)


SECONDS_OF_23 = 110
"""Third parties report 40 to 180 s for 2.3."""

SECONDS_OF_23_FAST = 65
"""A seller of the same model calls it 30 to 50 % quicker than 2.3, and says 20 to 50 s:
https://wavespeed.ai/docs/docs-api/minimax/minimax-hailuo-2.3-fast, seen 2026-11-20."""

SECONDS_OF_02 = 360
"""Third parties report 4 to 8 minutes for 02. There are no reports of 02 fast."""

_WIDTHS = {512: 910, 768: 1366, 1080: 1920}
"""Of a picture of 16:9: the nearest even number of pixels, as H.264's colours need it."""

_SOURCE_1080P = (
    "1080p: the model's page at fal; 6 s at 24 fps: MiniMax's statement for 1080P, no schema of "
    "fal's carries it"
)
_SOURCE = (
    "lines and seconds: fal's schema and price texts, seen 2026-06; 16:9 at 24 fps: as MiniMax "
    "states it for 1080P, no schema of fal's carries it"
)
PAGE = "fal's price text on the model's page"
TEXTS = "fal's price texts, gathered 2026-06 to 2026-08"


def picture(height: int, duration_seconds: int) -> Picture:
    """A picture of 16:9 at 24 frames a second.

    An endpoint that starts from a picture makes the video in the shape of that picture instead.

    Args:
        height: Pixels: 512, 768 or 1080.
        duration_seconds: Seconds.

    Example:
        >>> picture(768, 10).width
        1366
    """
    return Picture(
        width=_WIDTHS[height],
        height=height,
        frames_per_second=24,
        duration_seconds=duration_seconds,
        source=_SOURCE_1080P if height == 1080 else _SOURCE,
    )


PICTURE_1080P = picture(1080, 6)


def fixed(
    usd: str, unit: Literal["video", "second"], source: str = TEXTS, seen: str = "2026-06"
) -> tuple[Variant, ...]:
    """The variants of a pro endpoint: one kind of video, 1080p, 6 s.

    Args:
        usd: US dollars a unit.
        unit: What is counted.
        source: Where the price was read.
        seen: When, as an ISO date or month.

    Example:
        >>> [variant.price_usd for variant in fixed("0.08", "second")]
        [Decimal('0.48')]
    """
    return (Variant(PICTURE_1080P, Price(Decimal(usd), unit, source, seen)),)


def by_length(height: int, usd: str, usd_longer: str) -> tuple[Variant, ...]:
    """The variants of an endpoint with one price for 6 seconds and another for 10.

    Args:
        height: Pixels.
        usd: US dollars for 6 seconds.
        usd_longer: US dollars for 10 seconds.
    """
    prices = {"6": usd, "10": usd_longer}
    return tuple(
        Variant(
            picture(height, int(duration)),
            Price(Decimal(price), "video", TEXTS, "2026-06"),
            {"duration": duration},
        )
        for duration, price in prices.items()
    )


def by_second(
    height: int, usd: str, resolution: str | None = None, source: str = TEXTS
) -> tuple[Variant, ...]:
    """The variants of an endpoint that is paid by the second, for 6 or 10 seconds.

    Args:
        height: Pixels.
        usd: US dollars a second.
        resolution: The `resolution` that gives this height; None if there is no such setting.
        source: Where the price was read.

    Example:
        >>> [str(variant.price_usd) for variant in by_second(768, "0.045")]
        ['0.27', '0.45']
    """
    price = Price(Decimal(usd), "second", source, "2026-06")
    fine = {} if resolution is None else {"resolution": resolution}
    return tuple(
        Variant(picture(height, int(duration)), price, {"duration": duration, **fine})
        for duration in ("6", "10")
    )
