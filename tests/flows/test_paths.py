"""Which files of a worker the parameters of a deployment's run may name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from picture_ground import plain_picture
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from prefect_hailuo.errors import Billed, ConfigurationError
from prefect_hailuo.flows.batch import DEFAULT_MODEL, _read, batch
from prefect_hailuo.flows.manifest import Defaults, Manifest
from prefect_hailuo.flows.paths import may_name

SETTING = "PREFECT_INTEGRATIONS_HAILUO_READABLE_PATHS"
IMAGE_MODEL = "hailuo-2.3-pro-image"


@pytest.fixture
def deployed() -> Any:
    """A run of a deployment."""
    run = FlowRun(flow_id=uuid4(), deployment_id=uuid4())
    context = FlowRunContext.model_construct(flow_run=run, flow=batch)
    with context:
        yield


def read(**given: Any) -> Manifest:
    """The rows that a run's parameters name."""
    defaults = Defaults(DEFAULT_MODEL, 0, {}, str)
    return _read(given.get("prompts"), given.get("prompts_file"), given.get("rows"), defaults)


def refused(**given: Any) -> str:
    """How parameters are refused."""
    with pytest.raises(ConfigurationError, match="its deployment reads no files") as caught:
        read(**given)
    assert caught.value.billed is Billed.NO
    return str(caught.value)


@pytest.mark.parametrize(
    "named",
    [
        *("/etc/passwd", "rows.csv", "~/.ssh/id_rsa", "../rows.csv", "/proc/self/environ"),
        *("file:///etc/passwd", "local:///etc/passwd", "simplecache::file:///etc/passwd"),
        *("http://169.254.169.254/latest/meta-data/", "https://intranet.example/rows.csv"),
        *("s3://bucket/../x", "zip://rows.csv::file:///srv/x.zip", "memory://x"),
    ],
)
def test_a_run_reads_no_file_of_its_worker(deployed: None, named: str) -> None:
    """Neither as rows nor as a picture; and whether there is such a file is not said."""
    assert SETTING in refused(prompts_file=named)
    if "://" not in named:  # which inputs refuse anyway
        pictures = [{"prompt": "A fox.", "model": IMAGE_MODEL, "image_url": named}]
        assert SETTING in refused(rows=pictures)


def test_a_run_reads_what_its_deployment_allows(
    deployed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders, with all below them; a link in them that leads out is refused."""
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "fox.png").write_bytes(plain_picture())
    (folder / "rows.csv").write_text(f"prompt,model,image_url\nA fox.,{IMAGE_MODEL},fox.png\n")
    (tmp_path / "secret.txt").write_text("A secret.")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    refused(prompts_file=str(folder / "rows.csv"))
    monkeypatch.setenv(SETTING, json.dumps([str(folder)]))
    assert len(read(prompts_file=str(folder / "rows.csv")).items) == 1
    for name in ("link.txt", "../secret.txt", "../rows2/x.txt"):
        refused(prompts_file=str(folder / name))
    out = f"prompt,model,image_url\nA fox.,{IMAGE_MODEL},../secret.txt\n"
    (folder / "out.csv").write_text(out)
    refused(prompts_file=str(folder / "out.csv"))
    monkeypatch.setenv(SETTING, json.dumps(["."]))
    monkeypatch.chdir(folder)
    assert len(read(prompts_file="rows.csv").items) == 1


def test_a_run_names_pictures_by_their_urls(deployed: None) -> None:
    """A URL, a digest, and the bytes themselves are no files of the worker."""
    rows = [
        {"prompt": "A fox.", "model": IMAGE_MODEL, "image_url": each}
        for each in ("https://pictures.example/fox.png", f"sha256:{'0' * 64}")
    ]
    assert len(read(rows=rows).items) == 2


def test_a_command_reads_what_it_likes(tmp_path: Path) -> None:
    """Outside of a deployment, the caller may read the file without this package, too."""
    (tmp_path / "rows.txt").write_text("A fox.")
    assert len(read(prompts_file=str(tmp_path / "rows.txt")).items) == 1


def test_addresses_are_allowed_by_their_beginnings() -> None:
    """To the end of a host or a folder: another host's name may begin alike."""
    allowed = ["https://files.example/rows"]
    assert may_name("https://files.example/rows/today.csv", allowed)
    for other in ("rows2/x.csv", "x.csv", "rows/../x.csv"):
        assert not may_name(f"https://files.example/{other}", allowed)
    assert not may_name("https://files.example.evil.example/rows/x.csv", ["https://files.example"])
