"""A real S3 server, from a package, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

if TYPE_CHECKING:
    from prefect_aws import S3Bucket

KEY_ID = "AKIAOFNOBODY"
SECRET = "a-secret-of-nobody"

SERVE = """
import time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
while True:
    time.sleep(60)
"""


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own.

    Args:
        url: The server's.
        name: The bucket's.
    """

    url: str
    name: str

    def block(self, *, folder: str = "", secret: str = SECRET) -> S3Bucket:
        """Prefect's block for it."""
        # Here, for it takes two seconds, and every test process loads this module.
        from prefect_aws import AwsCredentials, S3Bucket
        from prefect_aws.client_parameters import AwsClientParameters

        credentials = AwsCredentials(
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SecretStr(secret),
            region_name="us-east-1",
            aws_client_parameters=AwsClientParameters(endpoint_url=self.url),
        )
        return S3Bucket(bucket_name=self.name, credentials=credentials, bucket_folder=folder)

    def client(self) -> Any:
        """S3's own client for it."""
        return self.block().credentials.get_client("s3")

    def names(self) -> dict[str, int]:
        """Everything in it, with its size in bytes."""
        listed = self.client().list_objects_v2(Bucket=self.name)
        return {each["Key"]: each["Size"] for each in listed.get("Contents", [])}


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Where the server is."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def make_bucket(url: str) -> Bucket:
    """An empty bucket."""
    made = Bucket(url, f"videos-{uuid4().hex}")
    made.client().create_bucket(Bucket=made.name)
    return made


@pytest.fixture
def bucket(s3_url: str) -> Bucket:
    """An empty bucket."""
    return make_bucket(s3_url)
