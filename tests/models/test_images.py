"""Pictures as callers name them."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import pytest
from picture_ground import Shot as Pictured
from pydantic import BaseModel, ValidationError

from prefect_hailuo.models.image import ImageSource, decode_data_uri, media_fields, media_of
from prefect_hailuo.models.media import PICTURE, Medium

PNG = b"\x89PNG\r\n\x1a\n" + bytes(30)


class Shot(BaseModel):
    """An input with one picture, and maybe another."""

    image_url: ImageSource
    end_image_url: ImageSource | None = None


def test_every_kind_becomes_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes become a data: URI, paths absolute; URLs and data: URIs stay as they are."""
    monkeypatch.chdir(tmp_path)
    inline = "data:image/png;base64," + base64.b64encode(PNG).decode()
    url = "https://example.com/fox.png?sig=abc"
    kinds: list[tuple[str | Path | bytes, str]] = [
        (url, url),
        (f" {url}\n", url),
        (PNG, inline),
        (inline, inline),
        ("fox.png", str(tmp_path / "fox.png")),
        (Path("fox.png"), str(tmp_path / "fox.png")),
    ]
    for given, text in kinds:
        assert Shot(image_url=given).image_url == text
        assert Shot(image_url=given).model_dump(mode="json")["image_url"] == text
    assert decode_data_uri(inline) == PNG


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "blank"),
        (b"GIF89a", "JPEG, PNG, WebP"),
        ("data:image/png,abc", "must read data:image/png;base64"),
        ("data:image/png;base64,a?b=", "no valid base64"),
        ("s3://bucket/fox.png", "s3:// cannot be read"),
        ("https:///fox.png", "names no host"),
        ("https://me:secret@example.com/fox.png", "user name"),
        ("~nobody-here/fox.png", "a home that is not known; write its whole path"),
        (base64.b64encode(PNG * 3000).decode(), "write data:image/png;base64, before it"),
        (base64.encodebytes(b"\xff\xd8\xff\xe0" + bytes(600)).decode(), "data:image/jpeg;base64,"),
        ("x" * 5000, "5,000 characters, too many for a path"),
        (f"~nobody-here/{'x' * 4000}", "~nobody-here/x{186}… is in a home"),
        (7, "a URL, a path, bytes"),
    ],
)
def test_what_is_no_picture_is_refused(given: str | bytes, reason: str) -> None:
    """What cannot name a picture is refused at once, with what to pass instead."""
    with pytest.raises(ValidationError, match=reason):
        Shot(image_url=given)


def test_a_value_shows_no_secret() -> None:
    """Where an input is only shown, as in Prefect's logs, a signature and megabytes are not."""
    both = Shot(image_url="https://example.com/fox.png?sig=hush-hush", end_image_url=PNG)
    assert "https://example.com/fox.png" in repr(both)
    assert "hush-hush" not in repr(both) and "base64" not in repr(both)
    assert "hush-hush" in both.model_dump_json()
    assert Shot.model_validate_json(both.model_dump_json()) == both
    assert pickle.loads(pickle.dumps(both)) == both  # noqa: S301 - its own


def test_no_name_is_long() -> None:
    """However long a picture's name is, it takes no more than a line of an error."""
    for name in ("/shots/" + "x" * 3000, "https://example.com/" + "x" * 3000):
        assert len(repr(Shot(image_url=name).image_url)) <= 202
    with pytest.raises(ValidationError) as caught:
        Shot(image_url=base64.b64encode(PNG * 9000).decode())
    assert len(str(caught.value)) < 500


def test_the_schema_is_a_plain_text() -> None:
    """A form asks for a text, and says what the picture must be."""
    schema = Shot.model_json_schema()["properties"]
    assert schema["image_url"]["type"] == "string"
    assert "300 pixels" in schema["image_url"]["description"]
    assert "string" in {kind["type"] for kind in schema["end_image_url"]["anyOf"]}


def test_an_input_knows_its_pictures() -> None:
    """Which fields hold pictures follows from the declaration."""
    assert list(media_fields(Shot)) == ["image_url", "end_image_url"]
    assert media_of(Shot(image_url="/a.png")) == {"image_url": Medium("/a.png", PICTURE)}


def test_a_refusal_shows_no_secret() -> None:
    """What was given in place of a picture is not in the error, for it may be a signed URL."""
    with pytest.raises(ValidationError) as raised:
        Pictured(prompt="It moves.", image_url="ftp://example.com/fox.png?sig=hush-hush")
    assert "hush-hush" not in str(raised.value)
