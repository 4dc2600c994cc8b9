"""Which files of a worker the parameters of a deployment's run may name.

A person who may start a run must not be able to read the worker's files through it. So a
deployment's run reads rows and pictures only from the folders in the worker's setting
`readable_paths`, and rows also from buckets. A command, or your own program, reads any file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from prefect.context import FlowRunContext

from prefect_hailuo.errors import ConfigurationError
from prefect_hailuo.models.image import is_data_uri, is_identity, is_url, media_of
from prefect_hailuo.models.inputs import VideoInput
from prefect_hailuo.runs.settings import PREFIX, current_settings

BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss"})
"""How addresses of buckets begin, as fsspec opens them."""


def may_name(text: str, readable: Collection[str]) -> bool:
    """Whether a run's parameters may name a file.

    Args:
        text: A path, or an address that fsspec opens.
        readable: Folders, and beginnings of addresses.

    Example:
        >>> may_name("/srv/rows/today.csv", ["/srv"]), may_name("/srv/../x", ["/srv"])
        (True, False)
        >>> may_name("s3://bucket/rows.csv", []), may_name("http://169.254.169.254/", [])
        (True, False)
    """
    scheme, mark, _ = text.partition("://")
    if "::" in text or (mark and ".." in text):
        return False
    if mark:
        beginnings = [each.rstrip("/") + "/" for each in readable if "://" in each]
        return scheme in BUCKETS or any(text.startswith(each) for each in beginnings)
    # Resolved, for a link may lead out of a folder, and a home is found.
    with suppress(OSError, RuntimeError, ValueError):
        path = Path(text).expanduser().resolve()
        folders = [Path(each).expanduser().resolve() for each in readable if "://" not in each]
        return any(path.is_relative_to(folder) for folder in folders)
    return False


def check_path(text: str) -> None:
    """Refuse a file that this run's parameters name, and that its deployment does not allow.

    Raises:
        ConfigurationError: It is refused. The message does not tell whether there is such a file.
    """
    if _of_deployment() and not may_name(text, current_settings().readable_paths):
        raise _refused(text)


def check_pictures(inputs: Iterable[VideoInput]) -> None:
    """The same for the files that some inputs name as their pictures, videos or sounds.

    Raises:
        ConfigurationError: One is refused.
    """
    if not _of_deployment():
        return
    readable = current_settings().readable_paths
    for each in inputs:
        for source, _ in media_of(each).values():
            if _is_path(source) and not may_name(source, readable):
                raise _refused(source)


def _is_path(source: str) -> bool:
    # What is nothing else counts as one: a wall refuses what it does not know.
    return not (is_url(source) or is_identity(source) or is_data_uri(source))


def _of_deployment() -> bool:
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run is not None and run.deployment_id is not None


def _refused(text: str) -> ConfigurationError:
    folder = str(Path(text).parent) if "://" not in text else text.rpartition("/")[0]
    return ConfigurationError(
        f"The run's parameters name {text[:200]!r}, and its deployment reads no files from there; "
        "nothing was bought.",
        cure="Pass the rows themselves or an address in a bucket, and pictures by their URLs; or "
        f"allow the folder on the worker: {PREFIX}READABLE_PATHS='{json.dumps([folder])}'.",
    )
