"""The whole Hailuo family: what each endpoint takes, makes and costs, and its keys."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from picture_ground import plain_picture
from pydantic import ValidationError
from roads import generate

from prefect_hailuo import (
    Hailuo02StandardImageToVideo,
    Hailuo02StandardTextToVideo,
    Hailuo23ProTextToVideo,
    Hailuo23StandardTextToVideo,
    estimate,
)
from prefect_hailuo.emulator import FalEmulator, edit
from prefect_hailuo.emulator.outcome import validate
from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.models.catalogue import CATALOGUE, Endpoint, Variant, VideoInput
from prefect_hailuo.models.image import data_uri
from prefect_hailuo.models.key import generation_key
from prefect_hailuo.runs.estimate import quote

FACTS = [kind.endpoint for kind in CATALOGUE.values()]
each_of_all = pytest.mark.parametrize("facts", FACTS, ids=lambda facts: facts.name)
each_variant = pytest.mark.parametrize(
    ("facts", "variant"),
    [
        (facts, variant)
        for facts in FACTS
        for variant in facts.variants
        # What is larger takes many seconds to draw.
        if variant.picture.height <= 1080 or facts.name == "h3"
        if variant.settings.get("resolution") != "4K"
    ],
    ids=lambda value: getattr(value, "name", None) or "-".join(value.settings.values()) or "only",
)

FAMILY = {
    "hailuo-2.3-pro": ("hailuo-2.3/pro/text-to-video", 1080, {6: "0.49"}),
    "hailuo-2.3-standard": ("hailuo-2.3/standard/text-to-video", 768, {6: "0.28", 10: "0.56"}),
    "hailuo-02-pro": ("hailuo-02/pro/text-to-video", 1080, {6: "0.48"}),
    "hailuo-02-standard": ("hailuo-02/standard/text-to-video", 768, {6: "0.27", 10: "0.45"}),
    "hailuo-2.3-pro-image": ("hailuo-2.3/pro/image-to-video", 1080, {6: "0.49"}),
    "hailuo-2.3-standard-image": (
        "hailuo-2.3/standard/image-to-video",
        768,
        {6: "0.28", 10: "0.56"},
    ),
    "hailuo-2.3-fast-pro-image": ("hailuo-2.3-fast/pro/image-to-video", 1080, {6: "0.33"}),
    "hailuo-2.3-fast-standard-image": (
        "hailuo-2.3-fast/standard/image-to-video",
        768,
        {6: "0.19", 10: "0.32"},
    ),
    "hailuo-02-pro-image": ("hailuo-02/pro/image-to-video", 1080, {6: "0.48"}),
    "hailuo-02-standard-image": ("hailuo-02/standard/image-to-video", 768, {6: "0.27", 10: "0.45"}),
    "hailuo-02-fast-image": ("hailuo-02-fast/image-to-video", 512, {6: "0.102", 10: "0.17"}),
    "h3": ("minimax/h3/text-to-video", 1440, {5: "0.65"}),
    "h3-image": ("minimax/h3/image-to-video", 1440, {5: "0.65"}),
    "h3-reference": ("minimax/h3/reference-to-video", 1440, {5: "0.65"}),
    "h3-max": ("minimax/h3-max/text-to-video", 768, {5: "0.40"}),
    "h3-max-image": ("minimax/h3-max/image-to-video", 768, {5: "0.40"}),
    "h3-max-reference": ("minimax/h3-max/reference-to-video", 768, {5: "0.40"}),
    "h3-max-turbo": ("minimax/h3-max-turbo/text-to-video", 768, {5: "0.20"}),
    "h3-max-turbo-image": ("minimax/h3-max-turbo/image-to-video", 768, {5: "0.20"}),
    "video-01": ("video-01", 720, {6: "0.50"}),
    "video-01-image": ("video-01/image-to-video", 720, {6: "0.50"}),
    "video-01-live": ("video-01-live", 720, {6: "0.50"}),
    "video-01-live-image": ("video-01-live/image-to-video", 720, {6: "0.50"}),
    "video-01-director": ("video-01-director", 720, {6: "0.50"}),
    "video-01-director-image": ("video-01-director/image-to-video", 720, {6: "0.50"}),
    "video-01-subject-reference": ("video-01-subject-reference", 720, {6: "0.50"}),
}
"""By short name: fal's id, the default's lines, and its price by seconds."""

GOLDEN = {
    "hailuo-2.3-pro": "76bfe21899e6003d7f682d20b78a9b4eef38f84204068e3d45d0cabf625aee8f",
    "hailuo-2.3-standard": "7be615502305407d416701d4ba2b53ee3cc8ee2dfc3b2971bdd563908139c8ae",
    "hailuo-02-pro": "26c6a0d4b37e1e0278ca004836cd6652b48ae39d1c6cd2b203c6718121fe86f8",
    "hailuo-02-standard": "68b2e87e42d7b22c6cc8216fdca1a3d3f888208874abecb18bad948d10b64c9f",
    "hailuo-2.3-pro-image": "21211d1d5d81f445035e405ca567283b2ff9d5053c606535129fb3207914daa5",
    "hailuo-2.3-standard-image": "08a1a8ded9b0ae61c7377f6d1171808991f20f875c4f88c5a53a1a1877cf5289",
    "hailuo-2.3-fast-pro-image": "0d0f00c5b1b269892efd826bc633c4fd8d8c60cc0ded59e195fb5ed59668c683",
    "hailuo-2.3-fast-standard-image": (
        "9ff0e30f865d5fe91c759292dabe49a2492a9459b85d89d77af7f600ded3e0e3"
    ),
    "hailuo-02-pro-image": "aaa2a1385d4ec877fdbbfe31405e9ee2090026166ab3143272c37cf5f9ff3f18",
    "hailuo-02-standard-image": "c21bf4ab06b73e2d44d4b05eb03b0a2f27de54a0ca3dd21cfb0b7be3d0469ee4",
    "hailuo-02-fast-image": "53bd6f3f400c7785e65e7b196146a885023aa07274981c419bff6479ed9dbe04",
    "h3": "7e50b56181f691abf38be9ecde04f63941f356630466aaf368be4ff0170a27ad",
    "h3-image": "883a16edfbee7b9a504fed77ebfe974ba7c1a80ae9dc4454074528e20e05fe56",
    "h3-reference": "f887fcf00ff54ed8d95b14633bc4f2719e9f07658b345f64a100007f6bc87c0e",
    "h3-max": "4ed29d4513a8341b6dd7f575558329726a82dde3694e6943e281399db7e4c879",
    "h3-max-image": "dc49e54cc5a7a62ce65c6a7095bb10ecabc36a501d7ab4091bb47d42545e037f",
    "h3-max-reference": "af430a58bbdb367941128b4222500a78ced3fc22d551a1a62a022c33d746d270",
    "h3-max-turbo": "0557d14efd818d25ef2485cdc73d19182e2f477c78b73fec4df2cb4b1e97bf07",
    "h3-max-turbo-image": "37cbe64d82f11612753de7b79ebd2aab3cb666643e2a885dc599e9cfb60fe9c4",
    "video-01": "68c91ced380598688a25a81950451431c8473160eb4bbba25344bb976d87ba02",
    "video-01-image": "9517230348a4956baefaf2d690f3f17272e403fcb7192f181627d52e7bdf5eb7",
    "video-01-live": "baf8559b445dcab392c140fabf56bc1629a8e5ffed4ab493e13b8af0ea963ca7",
    "video-01-live-image": "c14c0c9b265c714689d430f628202e578936fc93827b8901b52681916f006750",
    "video-01-director": "3fdcb2f6176e451e9572ee21921d1612e5a76cd39be08d3c99ff33fa935c6d35",
    "video-01-director-image": "e28b0e47c20654bb6c4183821071b8eb4e6b39b8a20d44cda6e27ac5e713f27d",
    "video-01-subject-reference": (
        "ab20bf0b11b110db30e478ec423fa93187b9d0505457a73fce6f05f12f7a29c0"
    ),
}
"""The key of each endpoint's fox, in the realm fal."""


PICTURE = data_uri(plain_picture(), "image/png")


def an_input(facts: Endpoint, **settings: Any) -> VideoInput:
    """An input of an endpoint: a fox, and a picture of one where that is asked for."""
    given = {"prompt": "A red fox crosses a snowy field.", **shown(facts, PICTURE), **settings}
    return CATALOGUE[facts.id].model_validate(given)


def shown(facts: Endpoint, picture: str) -> dict[str, Any]:
    """A picture in the field in which an endpoint wants one."""
    fields: dict[str, dict[str, Any]] = {
        "image to video": {"image_url": picture},
        "reference to video": {"reference_image_urls": [picture]},
        "subject reference": {"subject_reference_image_url": picture},
    }
    return fields.get(facts.mode, {})


def test_the_catalogue_is_the_family() -> None:
    """Every endpoint, with its size, its lengths and what each of them costs."""
    assert {facts.name: _told(facts) for facts in FACTS} == FAMILY
    assert len({facts.title for facts in FACTS}) == len(FACTS)


def _told(facts: Endpoint) -> tuple[str, int, dict[int, str]]:
    height = facts.default.picture.height
    alike = [each for each in facts.variants if each.picture.height == height]
    prices = {each.picture.duration_seconds: str(each.price_usd) for each in alike}
    return facts.id.removeprefix("fal-ai/minimax/"), height, prices


@each_of_all
def test_every_figure_has_a_source_and_a_date(facts: Endpoint) -> None:
    """A price without a date is a rumour."""
    for variant in facts.variants:
        assert variant.price and variant.price.usd > 0
        assert variant.price.source and variant.picture.source
        assert re.fullmatch(r"20\d\d-[01]\d(-[0-3]\d)?", variant.price.seen)
        assert variant.picture.frames_per_second == (25 if "video-01" in facts.id else 24)
        if variant.picture.form:
            assert variant.picture.form.source
    assert facts.expected_seconds > 0
    assert facts.app in ("fal-ai/minimax", "minimax/h3", "minimax/h3-max", "minimax/h3-max-turbo")


@each_of_all
def test_every_choice_is_a_variant(facts: Endpoint) -> None:
    """Whatever an input may be set to has one picture and one price."""
    schema = CATALOGUE[facts.id].model_json_schema()["properties"]
    choices = {
        name: each.get("enum") or range(each["minimum"], each["maximum"] + 1)
        for name, each in schema.items()
        if name in facts.default.settings
    }
    asked = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    found = [an_input(facts, **settings).variant for settings in asked]
    there = [
        each if each.lengths is None else each.chosen({**each.settings, "duration": seconds})
        for each in facts.variants
        for seconds in each.lengths or [each.picture.duration_seconds]
    ]
    assert len(found) == len(there) == len(set(there))
    assert all(variant in found for variant in there)


@each_of_all
def test_the_fox_of_each_endpoint_has_its_key_for_ever(facts: Endpoint) -> None:
    """A stored video is still found in ten years."""
    fox = an_input(facts, **shown(facts, f"sha256:{'7' * 64}"))
    assert generation_key(fox, realm="fal") == GOLDEN[facts.name]


def test_a_duration_is_a_text_or_a_number() -> None:
    """Both are the same video; on the wire it is a text, and only 6 and 10 are taken."""
    number = Hailuo23StandardTextToVideo(prompt="A fox.", duration=10)
    text = Hailuo23StandardTextToVideo(prompt="A fox.", duration="10")
    assert number == text
    assert number.body() == {"prompt": "A fox.", "prompt_optimizer": True, "duration": "10"}
    assert generation_key(number, realm="fal") == generation_key(text, realm="fal")
    for wrong in (7, "6s", 6.5, None):
        with pytest.raises(ValidationError, match="Input should be '6', '10'"):
            Hailuo23StandardTextToVideo.model_validate({"prompt": "A fox.", "duration": wrong})
    with pytest.raises(ValidationError, match="Extra inputs"):
        Hailuo23ProTextToVideo.model_validate({"prompt": "A fox.", "duration": "6"})


@each_variant
def test_the_emulator_makes_each_and_charges_it(
    facts: Endpoint, variant: Variant, emulator: FalEmulator, tmp_path: Path
) -> None:
    """Each choice has its size, rate and length, and is bought at its price."""
    video = generate(emulator, tmp_path, an_input(facts, **variant.settings))
    picture = variant.picture
    if picture.is_shape_known:
        assert (video.width, video.height) == (picture.width, picture.height)
    seconds = picture.frame_count / picture.frames_per_second
    assert video.duration_seconds is not None
    assert seconds <= video.duration_seconds + 0.001 <= seconds + (0.05 if picture.form else 0.001)
    assert video.notes == ()
    assert video.frames_per_second == picture.frames_per_second
    assert emulator.charged_usd == video.price_usd == variant.price_usd


def test_a_second_picture_and_a_resolution_make_another_video() -> None:
    """Each tells two generations apart; what is left out is not sent."""
    facts = Hailuo02StandardImageToVideo.endpoint
    ended = {"end_image_url": f"sha256:{'8' * 64}"}
    shots = [an_input(facts), an_input(facts, **ended), an_input(facts, resolution="512P")]
    assert len({generation_key(each, realm="fal") for each in shots}) == 3
    assert "end_image_url" not in shots[0].body()
    said = an_input(facts, end_image_url=None, resolution="768P", duration=6)
    assert generation_key(said, realm="fal") == generation_key(shots[0], realm="fal")


def test_an_image_endpoint_wants_a_picture() -> None:
    """Nothing can be bought without."""
    with pytest.raises(ValidationError, match=r"image_url\n  Field required"):
        Hailuo02StandardImageToVideo.model_validate({"prompt": "She turns."})


def test_the_emulator_is_as_strict_as_fal() -> None:
    """A duration that is a number, or another text, ends as a 422 that costs nothing."""
    for wrong in (10, "7"):
        body = {"prompt": "A fox.", "duration": wrong}
        refused = validate(Hailuo23StandardTextToVideo, body).body["detail"]
        assert (refused[0]["type"], refused[0]["loc"]) == ("literal_error", ["body", "duration"])


def test_a_request_of_unknown_input_has_a_price_only_where_there_is_one() -> None:
    """Nobody guesses which of two prices it was."""
    assert Hailuo23ProTextToVideo.endpoint.price_usd(None) == Decimal("0.49")
    assert Hailuo23StandardTextToVideo.endpoint.price_usd(None) is None
    assert Hailuo23StandardTextToVideo.endpoint.price_usd({"duration": "7"}) is None
    assert Hailuo23StandardTextToVideo.endpoint.price_usd({}) == Decimal("0.28")


def test_an_estimate_counts_each_length_at_its_price(ledger_url: str) -> None:
    """Two lengths of one model are two quotes."""
    shots = [Hailuo02StandardTextToVideo(prompt="A fox.", duration=each) for each in (6, 10, 6)]
    told = estimate(shots)
    assert [line.cost_usd for line in told.lines] == [Decimal("0.27"), Decimal("0.45"), 0]
    assert [each.settings for each in told.quotes] == [{"duration": "6"}, {"duration": "10"}]


def test_a_quote_is_of_a_setting_that_there_is() -> None:
    """What there is to choose is said."""
    assert quote("hailuo-2.3-standard", {"duration": "10"}).price_usd == Decimal("0.56")
    with pytest.raises(ConfigurationError, match=r"no duration 7.*duration 6; duration 10"):
        quote("hailuo-2.3-standard", {"duration": 7})
    with pytest.raises(ConfigurationError, match=r"no duration 10.*Leave the setting out"):
        quote("hailuo-2.3-pro", {"duration": 10})


def test_fals_one_price_says_nothing_of_another_length(tiny: FalEmulator) -> None:
    """By the second it is both lengths' price; by the video it is that of the default alone."""
    longer = {"duration": 10}
    mine: dict[str, Any] = {"credentials": tiny.credentials(), "live": True}
    assert quote("hailuo-02-standard", longer, **mine).source == "fal's pricing API"
    assert quote("hailuo-2.3-standard", longer, **mine).notes == ()

    def dearer(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "prices": [{**each, "unit_price": 0.3} for each in body["prices"]]}

    tiny.faults.add(edit("pricing", dearer, count=None))
    told = quote("hailuo-2.3-standard", longer, **mine)
    assert told.price_usd == Decimal("0.56")
    assert "costs $0.30 with duration 6, the catalogue $0.28" in told.notes[0]
