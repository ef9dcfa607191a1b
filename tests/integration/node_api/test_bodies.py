"""Bodies that are malformed, wrong or too large."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.workload import Workload

LIMIT = 8 * 1024 * 1024
PATHS = ["claim", "report", "extend", "heartbeat"]


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_not_json_is_malformed(node: Node, path: str):
    for body in (b"", b"{", b"\xff\xfe"):
        problem(await node.http.post(path, content=body), 400, "malformed_json")


@pytest.mark.parametrize("path", PATHS)
async def test_json_that_two_readers_could_read_differently_is_invalid(node: Node, path: str):
    for body in (b'{"slots": 1, "slots": 2}', b'{"slots": NaN}', b"[" * 50 + b"]" * 50):
        problem(await node.http.post(path, content=body), 422, "invalid_request")


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_not_the_model_is_invalid(node: Node, path: str):
    for body in (b"[]", b"{}", b'{"no_such_field": 1}'):
        problem(await node.http.post(path, content=body), 422, "invalid_request")


@pytest.mark.parametrize(
    "asked",
    [
        {"kinds": [], "slots": 1},
        {"kinds": ["Sign"], "slots": 0},
        {"kinds": ["Sign"], "slots": 257},
        {"kinds": ["Sign"], "slots": 1, "wait": 31},
        {"kinds": ["Sign\u0000"], "slots": 1},
    ],
)
async def test_a_claim_out_of_bounds_is_invalid(node: Node, asked: object):
    answer = await node.http.post("claim", content=json.dumps(asked))
    problem(answer, 422, "invalid_request")


async def test_a_body_over_the_limit_is_refused(node: Node):
    answer = await node.http.post("report", content=b" " * (LIMIT + 1))
    problem(answer, 413, "too_large")
    assert await node.claim() == []


async def test_a_body_over_the_limit_that_does_not_say_so_is_refused_too(node: Node):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 65536 + 1):
            yield b" " * 65536

    problem(await node.http.post("report", content=chunks()), 413, "too_large")


async def test_a_body_without_end_is_cut_off(node: Node):
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    try:
        answer = await node.http.post("report", content=endless())
    except (httpx.WriteError, httpx.ReadError):
        return  # cut off while sending; whether the answer still arrives is the network's matter
    problem(answer, 413, "too_large")


async def test_an_outcome_over_the_limit_is_a_bad_result(node: Node, workload: Workload):
    job_id = await workload.signature(await workload.key())
    (job,) = await node.claim()
    huge = node.outcome(job_id, OutcomeStatus.DENIED, reason="x" * 70_000)
    assert await node.report(report_of(job, huge)) == {job_id: "retried"}
    assert b"bad_result" in (await workload.job(job_id)).last_failure


async def test_other_paths_and_methods_are_problems_too(node: Node):
    problem(await node.http.get("nothing"), 404, "not_found")
    problem(await node.http.get("claim"), 405, "method_not_allowed")
