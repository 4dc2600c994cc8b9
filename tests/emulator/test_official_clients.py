"""fal's own clients, running the examples of fal's own pages word for word against the emulator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest

from prefect_hailuo.emulator import FalEmulator, drop_after_accepting

from .certificates import Certificate

PAGES = sorted((Path(__file__).parent / "pages").glob("*.md"))
JAVASCRIPT_CLIENT = "@fal-ai/client@1.10.1"
SECONDS = 60

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def example(page: Path, title: str) -> str:
    """The code under a title of a page; where there are several blocks, the last."""
    section = page.read_text().split(f"### {title}\n")[1].split("\n#")[0]
    blocks: list[str] = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)
    return blocks[-1]


def run(command: list[str], folder: Path, settings: Mapping[str, str]) -> str:
    """Run a child with these settings on top of the environment; returns what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tool(name: str) -> str:
    """The path of a tool, or a loud skip."""
    path = shutil.which(name)
    return path or skip(f"{name} is not installed")


def skip(reason: str) -> str:
    """Skip, and say so in the summary too."""
    reason = f"NOT PROVEN against fal's own client: {reason}"
    warnings.warn(reason, stacklevel=2)
    pytest.skip(reason)


def run_python_example(
    page: Path, emulator: FalEmulator, certificate: Certificate, folder: Path
) -> str:
    """Run the page's Python example with fal's client led to the emulator."""
    (folder / "example.py").write_text(example(page, "Python"))
    host = emulator.url.removeprefix("https://")
    settings = {
        "FAL_KEY": emulator.api_key,
        "FAL_QUEUE_RUN_HOST": host,
        "FAL_RUN_HOST": f"{host}/run",
        "SSL_CERT_FILE": str(certificate.certificate),
    }
    return run([sys.executable, "example.py"], folder, settings)


H3_PAGE = """### Python
```python
import fal_client

result = fal_client.subscribe(
    "minimax/h3-max/text-to-video",
    arguments={"prompt": "A fox.", "duration": 5, "resolution": "480P"},
)
print(result)
```
"""


def test_python_for_hailuo_3(
    tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """fal's client follows a request whose id has no `fal-ai/` in front."""
    page = tmp_path / "h3-max.md"
    page.write_text(H3_PAGE)
    printed = run_python_example(page, tls_emulator, certificate, tmp_path)
    assert "'expanded_prompt': 'A fox." in printed
    assert tls_emulator.submissions[0].endpoint == "minimax/h3-max/text-to-video"


@every_page
def test_python(
    page: Path, tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """The page's Python example prints the model's log and the video's URL, and buys one video."""
    printed = run_python_example(page, tls_emulator, certificate, tmp_path)
    assert f"'url': '{tls_emulator.url}/files/" in printed
    assert "Generating:" in printed
    assert tls_emulator.charged == 1


def test_fals_own_client_buys_again_when_an_answer_is_lost(
    tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """What this package exists to prevent: one lost answer, and the account has two videos."""
    tls_emulator.faults.add(drop_after_accepting("submit"))
    run_python_example(PAGES[0], tls_emulator, certificate, tmp_path)
    assert len(tls_emulator.submissions) == 2


@pytest.fixture(scope="session")
def node_folder(request: pytest.FixtureRequest) -> Path:
    """A folder with fal's JavaScript client in it, kept from one run of the tests to the next."""
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("fal-javascript-client")
    if not (folder / "node_modules" / "@fal-ai" / "client" / "package.json").exists():
        command = [tool("npm"), "install", "--no-audit", "--no-fund", JAVASCRIPT_CLIENT]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode:
            skip(f"npm could not install {JAVASCRIPT_CLIENT}: {done.stderr[-300:]}")
    return folder


@every_page
def test_javascript(page: Path, node_folder: Path) -> None:
    """The page's JavaScript example prints the log, the video's URL and the request id."""
    (node_folder / "example.mjs").write_text(example(page, "JavaScript"))
    shutil.copy(Path(__file__).parent / "lead_to_emulator.mjs", node_folder)
    with FalEmulator(durations=2, clip="plain") as emulator:
        settings = {"FAL_KEY": emulator.api_key, "EMULATOR_URL": emulator.url}
        command = [tool("node"), "--import", "./lead_to_emulator.mjs", "example.mjs"]
        printed = run(command, node_folder, settings)
    assert f"url: '{emulator.url}/files/" in printed
    assert "Generating:" in printed
    assert printed.strip().endswith(emulator.submissions[0].request_id)
    assert emulator.charged == 1


def lead_curl(folder: Path, emulator: FalEmulator, certificate: Certificate) -> dict[str, str]:
    """Settings by which curl finds fal's hosts at the emulator, and no other host anywhere."""
    address = emulator.url.removeprefix("https://")
    lines = [
        f'connect-to = "::{address}"',
        f'cacert = "{certificate.certificate}"',
        'proto = "=https"',
        'noproxy = "*"',
        "silent",
    ]
    (folder / ".curlrc").write_text("\n".join(lines))
    return {"FAL_KEY": emulator.api_key, "CURL_HOME": str(folder)}


@every_page
def test_curl(
    page: Path, tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """The page's cURL example gets a video, once its prompt's apostrophes are kept from the shell.

    That is the one change, and it needs it at fal too: see the next test.
    """
    tool("curl")
    head, _, rest = example(page, "cURL").partition("--data '")
    body, _, tail = rest.rpartition("'")
    command = f"{head}--data '{body.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'{tail}"
    settings = lead_curl(tmp_path, tls_emulator, certificate)
    printed = run([tool("bash"), "-c", command], tmp_path, settings)
    assert f'{{"video":{{"url":"{tls_emulator.url}/files/' in printed
    assert tls_emulator.charged == 1


@every_page
def test_curl_as_printed_buys_nothing(
    page: Path, tls_emulator: FalEmulator, certificate: Certificate, tmp_path: Path
) -> None:
    """Word for word, the cURL examples are broken by the apostrophes in their prompts.

    An odd number leaves bash without a closing quote; an even number sends half a body, which is
    refused as no JSON.
    """
    tool("curl")
    settings = {**os.environ, **lead_curl(tmp_path, tls_emulator, certificate)}
    command = example(page, "cURL")
    done = subprocess.run(
        [tool("bash"), "-c", command],
        env=settings,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if command.count("'") % 2:
        assert "unexpected EOF" in done.stderr
    else:
        assert '"type":"json_invalid"' in done.stdout
    assert (done.returncode != 0, tls_emulator.submissions) == (True, [])
