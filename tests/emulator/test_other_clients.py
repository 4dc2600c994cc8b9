"""Clients that nobody here wrote: how they call the emulator, and what they expect of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator

from .certificates import Certificate
from .test_official_clients import run, skip, tool

PRO = "fal-ai/minimax/hailuo-02/pro/text-to-video"
BODY = {"prompt": "A red fox."}
LINKS = ("response_url", "status_url", "cancel_url")
QUEUE = "https://queue.fal.run"
AI_SDK = ("ai@6.0.326", "@ai-sdk/fal@2.0.59", "undici@6.29.1")


def headers(emulator: FalEmulator, **more: str) -> dict[str, str]:
    """The key, and more."""
    return {"Authorization": f"Key {emulator.api_key}", **more}


def models(emulator: FalEmulator, query: str) -> dict[str, Any]:
    """The answer to a question for models."""
    answer = httpx.get(f"{emulator.url}/platform/v1/models?{query}")
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def ids(emulator: FalEmulator, query: str) -> list[str]:
    """The models that are found."""
    return [each["endpoint_id"] for each in models(emulator, query)["models"]]


def test_whoever_calls_fals_queue_is_answered_under_its_name(emulator: FalEmulator) -> None:
    """Some clients send the key on to the origin alone that they began with."""
    called = headers(emulator, Host="queue.fal.run")
    told = httpx.post(f"{emulator.url}/{PRO}", json=BODY, headers=called).json()
    assert {told[name].partition("/fal-ai/")[0] for name in LINKS} == {QUEUE}
    status = told["status_url"].replace(QUEUE, emulator.url)
    seen = httpx.get(status, headers=called).json()
    assert [seen[name] for name in LINKS] == [told[name] for name in LINKS]
    plain = httpx.get(status, headers=headers(emulator)).json()
    assert [plain[name] for name in LINKS] == [
        told[name].replace(QUEUE, emulator.url) for name in LINKS
    ]


def test_another_name_is_none_of_fals(emulator: FalEmulator) -> None:
    """A host that anybody may write into a request does not get into an answer."""
    called = headers(emulator, Host="collector.example")
    told = httpx.post(f"{emulator.url}/{PRO}", json=BODY, headers=called).json()
    assert {told[name].partition("/fal-ai/")[0] for name in LINKS} == {emulator.url}


def test_it_takes_a_public_url() -> None:
    """Behind a proxy or in a container it is called by another address than its own."""
    with FalEmulator(
        clip=b"x", durations=0, public_url="https://fal.example/emulator/"
    ) as emulator:
        assert emulator.url.startswith("http://127.0.0.1:")
        run_url = f"{emulator.url}/run/{PRO}"
        video = httpx.post(run_url, json=BODY, headers=headers(emulator)).json()["video"]
        assert video["url"].startswith("https://fal.example/emulator/files/")
        told = httpx.post(f"{emulator.url}/{PRO}", json=BODY, headers=headers(emulator)).json()
        assert told["status_url"].startswith("https://fal.example/emulator/fal-ai/minimax/")
    with pytest.raises(ValueError, match="is no address"):
        FalEmulator(public_url="fal.example")


def test_models_are_filtered_and_come_in_pages(emulator: FalEmulator) -> None:
    """By words, category and status; the cursor leads from page to page to the end."""
    everything = ids(emulator, "limit=100")
    assert PRO in ids(emulator, "q=hailuo-02+PRO")
    assert 0 < len(ids(emulator, "q=hailuo-02+pro")) < len(everything)
    assert ids(emulator, "q=no-such-thing") == ids(emulator, "status=deprecated") == []
    assert ids(emulator, "status=active&limit=100") == everything
    pictures = ids(emulator, "category=image-to-video&limit=100")
    assert pictures
    assert {each for each in everything if "image-to-video" in each} <= {*pictures}
    paged: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = models(emulator, f"limit=3{f'&cursor={cursor}' if cursor else ''}")
        paged += [each["endpoint_id"] for each in page["models"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
    assert paged == everything


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("models?limit=many", 422, "validation_error"),
        ("models?limit=0", 422, "validation_error"),
        ("models?cursor=-", 422, "validation_error"),
        ("models?endpoint_id=nobody/knows", 404, "not_found"),
        ("nothing/here", 404, "not_found"),
        ("models/pricing", 401, "authorization_error"),
        ("models/requests/by-endpoint?endpoint_id=x", 401, "authorization_error"),
    ],
)
def test_the_platforms_errors_have_its_shape(
    emulator: FalEmulator, path: str, status: int, kind: str
) -> None:
    """Whatever goes wrong, and wherever it is noticed."""
    answer = httpx.get(f"{emulator.url}/platform/v1/{path}")
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind)
    assert error["message"]
    assert error["request_id"]


def test_a_wrong_method_is_told_in_the_platforms_shape(emulator: FalEmulator) -> None:
    """As all else there."""
    answer = httpx.delete(f"{emulator.url}/platform/v1/models")
    assert (answer.status_code, list(answer.json())) == (405, ["error"])


def test_browsers_may_ask(emulator: FalEmulator) -> None:
    """From any origin, with the key, and they see fal's headers; a preflight needs no key."""
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-fal-queue-priority",
    }
    allowed = httpx.options(f"{emulator.url}/{PRO}", headers=asked)
    assert allowed.status_code == 200
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    sent = headers(emulator, Origin="https://app.example")
    for answer in (
        httpx.post(f"{emulator.url}/{PRO}", json=BODY, headers=sent),
        httpx.post(f"{emulator.url}/{PRO}", json=BODY, headers={"Origin": "https://app.example"}),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-expose-headers"] == "*"
    assert len(emulator.submissions) == 1


@pytest.mark.parametrize("depth", [250, 5_000, 100_000])
@pytest.mark.parametrize("path", [PRO, f"run/{PRO}", "rest/storage/auth/token"])
def test_what_is_nested_too_deeply_is_refused(emulator: FalEmulator, path: str, depth: int) -> None:
    """With a 400, not with a failure of the server's; the history shows what is less deep."""
    less = {"prompt": "A fox.", "x": json.loads("[" * 150 + "]" * 150)}
    taken = httpx.post(f"{emulator.url}/{PRO}", json=less, headers=headers(emulator))
    assert taken.status_code == 200
    body = '{"prompt":"A fox.","x":' + "[" * depth + "]" * depth + "}"
    url = f"{emulator.url}/{path}"
    answer = httpx.post(url, content=body, headers=headers(emulator), timeout=30)
    assert answer.status_code == 400
    history = f"models/requests/by-endpoint?endpoint_id={PRO}&expand=payloads"
    listed = httpx.get(f"{emulator.url}/platform/v1/{history}", headers=headers(emulator))
    assert listed.json()["items"][0]["json_input"] == less


def test_it_says_what_it_is(emulator: FalEmulator) -> None:
    """To those who open its address in a browser, and have no key."""
    answer = httpx.get(f"{emulator.url}/")
    assert answer.status_code == 200
    assert "nothing is charged" in answer.text
    assert emulator.url in answer.text


def test_a_file_in_parts_with_a_token(emulator: FalEmulator) -> None:
    """As fal_client sends what has 100 MB or more; the parts may come in any order."""
    asked = f"{emulator.url}/rest/storage/auth/token?storage_type=fal-cdn-v3"
    token = httpx.post(asked, json={}, headers=headers(emulator)).json()
    bearer = {"Authorization": f"{token['token_type']} {token['token']}"}
    named = {**bearer, "X-Fal-File-Name": "fox.bin", "Content-Type": "application/x-fox"}
    begun = httpx.post(f"{token['base_url']}/files/upload/multipart", headers=named).json()
    parts = f"{begun['access_url']}/multipart/{begun['uploadId']}"
    tags = {
        number: httpx.put(f"{parts}/{number}", content=content, headers=bearer).headers["etag"]
        for number, content in ((2, b"fox"), (1, b"red "))
    }
    assert httpx.get(begun["access_url"]).status_code == 404
    told = {"parts": [{"partNumber": each, "etag": tags[each]} for each in (1, 2)]}
    wrong = {"parts": told["parts"][:1]}
    assert httpx.post(f"{parts}/complete", json=wrong, headers=bearer).status_code == 400
    assert httpx.post(f"{parts}/complete", json=told).status_code == 401
    assert httpx.post(f"{parts}/complete", json=told, headers=bearer).status_code == 200
    served = httpx.get(begun["access_url"])
    assert (served.content, served.headers["content-type"]) == (b"red fox", "application/x-fox")


def test_a_file_in_parts_with_a_signature(emulator: FalEmulator) -> None:
    """As fal's JavaScript client sends what has more than 90 MB."""
    asked = f"{emulator.url}/rest/storage/upload/initiate-multipart?storage_type=fal-cdn-v3"
    wanted = {"file_name": "fox.bin", "content_type": "application/x-fox"}
    begun = httpx.post(asked, json=wanted, headers=headers(emulator)).json()
    path, _, signature = begun["upload_url"].partition("?")
    parts = [
        httpx.put(f"{path}/{number}?{signature}", content=content).json()
        for number, content in ((1, b"red "), (2, b"fox"))
    ]
    assert httpx.put(f"{path}/3?signature=no", content=b"!").status_code == 403
    done = httpx.post(f"{path}/complete?{signature}", json={"parts": parts})
    assert done.status_code == 200
    assert httpx.get(begun["file_url"]).content == b"red fox"


@pytest.fixture(scope="session")
def ai_folder(request: pytest.FixtureRequest) -> Path:
    """A folder with the AI SDK in it, kept from one run of the tests to the next."""
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("ai-sdk")
    if not (folder / "node_modules" / "@ai-sdk" / "fal" / "package.json").exists():
        command = [tool("npm"), "install", "--no-audit", "--no-fund", *AI_SDK]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            skip(f"npm could not install {' '.join(AI_SDK)}: {done.stderr[-300:]}")
    return folder


@pytest.mark.campaign
@pytest.mark.parametrize("model", ["hailuo-2.3", "hailuo-02"])
def test_the_ai_sdk_makes_a_video(ai_folder: Path, certificate: Certificate, model: str) -> None:
    """Its `experimental_generateVideo`, by its fal provider, for both models: one purchase each.

    It calls fal's queue by its name, and would send no key to another origin; it downloads from
    public hosts alone, so the files have an address that is reserved for tests.
    """
    public_url = "https://emulator.test"
    shutil.copy(Path(__file__).parent / "generate_video.mjs", ai_folder)
    endpoint = f"fal-ai/minimax/{model}/pro/text-to-video"
    tls = certificate._asdict()
    with FalEmulator(durations=1, clip="plain", public_url=public_url, **tls) as emulator:
        settings = {
            "FAL_KEY": emulator.api_key,
            "EMULATOR_PORT": emulator.url.rpartition(":")[2],
            "CERTIFICATE": str(certificate.certificate),
            "MODEL": endpoint,
        }
        printed = run([tool("node"), "generate_video.mjs"], ai_folder, settings)
        kind, size = printed.split()
        assert (kind, int(size) > 1000) == ("video/mp4", True)
        (submission,) = emulator.submissions
        assert submission.body == {"prompt": "A red fox.", "prompt_optimizer": False}
        assert emulator.charged == 1
        assert {seen.authorized for seen in emulator.media_requests} == {False}
