"""Messages as RFC 5424 and RFC 6587 have them, over real sockets."""

import socket
from datetime import UTC, datetime

import pytest

from custody.runtime.errors import OperatorError
from custody.runtime.syslog import Syslog, frame


def test_a_message_has_the_fields_of_rfc_5424():
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    framed = frame("hsm-driver", "audit", '{"a": 1}', at, "zurich")
    assert framed == (b'<109>1 2026-03-04T05:06:07.000089Z zurich hsm-driver - audit - {"a": 1}')


def test_datagrams_carry_one_message_each(tmp_path):
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        with Syslog(f"unix://{path}", "hsm-driver") as syslog:
            syslog.send("audit", "one")
            syslog.send("audit", "two")
        assert [server.recv(1000)[-5:] for _ in "ab"] == [b"- one", b"- two"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with Syslog(f"udp://127.0.0.1:{server.getsockname()[1]}", "hsm-driver") as syslog:
            syslog.send("audit", "three")
        assert server.recv(1000).endswith(b"- three")


def test_tcp_counts_the_octets_of_each_message():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Syslog(f"tcp://127.0.0.1:{server.getsockname()[1]}", "hsm-driver") as syslog:
            syslog.send("audit", "one\ntwo")
        with server.accept()[0] as peer, peer.makefile("rb") as stream:
            received = stream.read()
    length, _, message = received.partition(b" ")
    assert int(length) == len(message)
    assert message.endswith(b"one\ntwo")


@pytest.mark.parametrize(
    "url", ["logs", "udp://logs", "tcp://:1", "unix://", "udp://a:b", "x://a:1"]
)
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(OperatorError, match="names no syslog server"):
        Syslog(url, "hsm-driver")


def test_a_server_that_is_away_is_an_error_that_says_so(tmp_path):
    with pytest.raises(OperatorError, match="did not take"), Syslog(f"unix://{tmp_path}/no", "x"):
        pass
