"""The emulator's storage, used by fal's own client, unmodified, under fal's own hosts' names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from prefect_hailuo.emulator import FalEmulator, refuse

from .asking import Asking
from .certificates import Certificate

# Whatever host is asked for, the connection goes to the emulator; the names in requests and in
# certificates stay fal's.
LED = """
    import asyncio, socket, sys
    port = int(sys.argv[1])
    connect, resolve = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect = lambda self, address: connect(self, ("127.0.0.1", port))
    socket.getaddrinfo = lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more)
    import fal_client
"""
SYNC = LED + "    print(fal_client.upload_file(sys.argv[2], repository=sys.argv[3]))\n"
ASYNC = LED + (
    "    print(asyncio.run(fal_client.upload_file_async(sys.argv[2], repository=sys.argv[3])))\n"
)


def upload_with_fals_client(
    code: str, path: Path, repository: str, emulator: FalEmulator, certificate: Certificate
) -> str:
    """The URL that fal's client comes back with."""
    settings = {"FAL_KEY": emulator.api_key, "SSL_CERT_FILE": str(certificate.certificate)}
    arguments = [emulator.url.rpartition(":")[2], str(path), repository]
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("repository", ["fal_v3", "fal"])
@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["sync", "async"])
def test_fals_own_client_uploads(
    tls_emulator: FalEmulator,
    certificate: Certificate,
    trust: httpx.Client,
    tmp_path: Path,
    code: str,
    repository: str,
) -> None:
    """By the CDN's token, and by a place that the API names: both are served back to anybody."""
    path = tmp_path / "A still (1).png"
    path.write_bytes(os.urandom(100_000))
    url = upload_with_fals_client(code, path, repository, tls_emulator, certificate)
    served = trust.get(url, headers={"Authorization": ""})
    assert served.content == path.read_bytes()
    assert served.headers["content-type"] == "image/png"
    [upload] = tls_emulator.uploads
    assert url == tls_emulator.url + upload.path


def test_fals_own_client_falls_back(
    tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """Where the CDN refuses a file, fal's client takes the other way, and that is there too."""
    path = tmp_path / "still.png"
    path.write_bytes(b"still")
    tls_emulator.faults.add(refuse("upload", 400))
    upload_with_fals_client(SYNC, path, "fal_v3", tls_emulator, certificate)
    assert [upload.content for upload in tls_emulator.uploads] == [b"still"]


def test_a_file_is_served_as_long_as_asked(fal: Asking, emulator: FalEmulator) -> None:
    """By the same header as a result's."""
    wanted = {"file_name": "still.png", "content_type": "image/png"}
    kept = {"X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds": -1}'}
    place = fal.http.post("/rest/storage/upload/initiate", json=wanted, headers=kept).json()
    assert httpx.put(place["upload_url"], content=b"x").status_code == 403
    assert httpx.get(place["file_url"]).status_code == 404


def test_only_who_may_uploads(fal: Asking, emulator: FalEmulator) -> None:
    """The API wants a key, the CDN a token, and a place its signature."""
    wanted = {"file_name": "still.png", "content_type": "image/png"}
    initiate = f"{emulator.url}/rest/storage/upload/initiate"
    assert httpx.post(initiate, json=wanted).status_code == 401
    assert httpx.post(f"{emulator.url}/rest/storage/auth/token").status_code == 401
    assert httpx.post(f"{emulator.url}/cdn/files/upload", content=b"x").status_code == 401
    place = fal.http.post(initiate, json=wanted).json()
    assert httpx.put(place["file_url"], content=b"x").status_code == 403
    assert httpx.get(place["file_url"]).status_code == 404
    assert httpx.put(place["upload_url"], content=b"x").status_code == 200
    assert httpx.get(place["file_url"]).content == b"x"
    assert fal.http.post(initiate, json={}).status_code == 422
