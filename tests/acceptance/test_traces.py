"""One request is one trace: from the POST to the HSM, and in MPC mode to each signer."""

import secrets
from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from custody.client import Curve, Custody, Scheme, Store
from custody.runtime.tls import client_context
from devstack.stack import Stack, StackOptions
from tests.played_collector import PlayedCollector

STAGES = ("claimed", "authenticated", "looked_up", "decided", "unlocked", "handled", "committed")
GROUP = "2-of-2"


@pytest.fixture(scope="module")
def collector() -> Iterator[PlayedCollector]:
    with PlayedCollector() as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: PlayedCollector) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        options = StackOptions(drivers=1, signers=2, durable=False)
        with Stack(tmp_path_factory.mktemp("traced"), options) as stack:
            with stack.client() as custody:
                custody.create_signer_group(GROUP, ["signer-1", "signer-2"], 2)
            yield stack


@pytest.fixture(scope="module")
def custody(stack: Stack) -> Iterator[Custody]:
    with stack.client() as custody:
        yield custody


def sign(stack: Stack, key_id: object, traceparent: str | None) -> httpx.Response:
    headers = {"authorization": f"Bearer {stack.api_token}"}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    with httpx.Client(verify=client_context(stack.ca), trust_env=False, timeout=60) as client:
        return client.post(
            f"{stack.control_planes[0].url}/v1/keys/{key_id}/signatures?wait=30",
            headers=headers,
            json={"kind": "Hash", "hash": "0x" + secrets.token_hex(32)},
        )


def is_done(services: dict[str, int], spans: list[tuple[str, Span]]) -> bool:
    """Return whether so many jobs of each service have ended, and the POST."""
    names = [(service, span.name) for service, span in spans]
    return any(name.startswith("POST ") for _, name in names) and all(
        names.count((service, "job")) >= count for service, count in services.items()
    )


def test_a_signature_is_one_trace_from_the_post_to_the_hsm(
    stack: Stack, custody: Custody, collector: PlayedCollector
) -> None:
    key = custody.create_key(Scheme.ECDSA, Curve.SECP256K1)
    trace_id, parent = secrets.token_hex(16), secrets.token_hex(8)

    answer = sign(stack, key.id, f"00-{trace_id}-{parent}-01")

    assert answer.json()["status"] == "Signed"
    spans = collector.trace(trace_id, lambda found: is_done({"hsm-driver": 1}, found))
    by_name = {span.name: (service, span) for service, span in spans}
    service, post = by_name["POST /v1/keys/{key_id}/signatures"]
    assert service == "control-plane"
    assert post.parent_span_id.hex() == parent
    service, job = by_name["job"]
    assert (service, job.parent_span_id) == ("hsm-driver", post.span_id)
    assert by_name["hsm sign"][1].parent_span_id == job.span_id
    for stage in (*STAGES, "reported"):
        assert by_name[stage][1].parent_span_id == job.span_id, stage
    facts = {one.key: one.value.string_value for one in job.attributes}
    assert facts["custody.job"] == answer.json()["id"]


def test_a_signature_of_signers_is_one_trace(
    stack: Stack, custody: Custody, collector: PlayedCollector
) -> None:
    key = custody.create_key(Scheme.ECDSA, Curve.SECP256K1, store=Store.MPC, signer_group=GROUP)
    trace_id = secrets.token_hex(16)

    answer = sign(stack, key.id, f"00-{trace_id}-{secrets.token_hex(8)}-01")

    assert answer.json()["status"] == "Signed"
    spans = collector.trace(trace_id, lambda found: is_done({"mpc-signer": 2}, found))
    (post,) = [span for _, span in spans if span.name.startswith("POST ")]
    jobs = [span for service, span in spans if (service, span.name) == ("mpc-signer", "job")]
    assert {job.parent_span_id for job in jobs} == {post.span_id}


@pytest.mark.parametrize("given", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_malformed_trace_context_fails_no_request(
    stack: Stack, custody: Custody, given: str
) -> None:
    key = custody.create_key(Scheme.ECDSA, Curve.SECP256K1)

    assert sign(stack, key.id, given).json()["status"] == "Signed"


def test_an_unsampled_trace_is_not_recorded(
    stack: Stack, custody: Custody, collector: PlayedCollector
) -> None:
    key = custody.create_key(Scheme.ECDSA, Curve.SECP256K1)
    unsampled, sampled = secrets.token_hex(16), secrets.token_hex(16)

    sign(stack, key.id, f"00-{unsampled}-{secrets.token_hex(8)}-00")
    sign(stack, key.id, f"00-{sampled}-{secrets.token_hex(8)}-01")

    collector.trace(sampled, lambda found: is_done({"hsm-driver": 1}, found))
    assert not [span for _, span in collector.spans if span.trace_id.hex() == unsampled]
