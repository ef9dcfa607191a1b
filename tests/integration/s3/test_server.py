"""The S3 server of the tests, and the client with which tests prepare its buckets."""

import ssl
import time
from typing import Any
from uuid import uuid4

import pytest

from devstack.s3 import S3Server

PAUSE = 0.02


def test_a_put_whose_bytes_arrive_slowly_does_not_spoil_the_next(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel of a busy machine can deliver each of a request's pieces late."""
    client, bucket = s3_server.administrator, f"slow-{uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    send = ssl.SSLSocket.sendall

    def send_slowly(socket: ssl.SSLSocket, data: Any, flags: int = 0) -> None:
        send(socket, data, flags)
        time.sleep(PAUSE)

    monkeypatch.setattr(ssl.SSLSocket, "sendall", send_slowly)
    for number in range(4):
        client.put_object(Bucket=bucket, Key=str(number), Body=bytes(300))
    assert s3_server.names(bucket) == ["0", "1", "2", "3"]
