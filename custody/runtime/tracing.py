"""OpenTelemetry traces of jobs, off unless the environment names a collector.

The trace context (W3C Trace Context, ``traceparent``) of a request travels beside its job: in a
column, and in the claim. It is never part of signed bytes, and decides nothing about the job: only
a ``parentbased_*`` sampler decides from its flag whether spans are sent.
The variables are those of OpenTelemetry's specification: ``OTEL_EXPORTER_OTLP_ENDPOINT``, ...
"""

import atexit
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from custody.runtime.build_info import DISTRIBUTION
from custody.runtime.errors import OperatorError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Attributes = Mapping[str, str | int]

_CONTEXT = TraceContextTextMapPropagator()
_tracer = trace.get_tracer(DISTRIBUTION)


def start_tracing(service: str) -> None:
    """Send the spans of this process to the collector that the environment names, if it names one.

    ``service``: ``service.name`` of the spans, unless ``OTEL_SERVICE_NAME`` is set. Raise
    OperatorError if the packages that send spans are missing.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise OperatorError(
            f"The environment asks for traces, and {error.name} is not installed.",
            "Install requirements-tracing.lock with pip install --require-hashes -r (see "
            "docs/how-to/traces.md), or remove the OTEL_ variables.",
        ) from None
    facts = {SERVICE_VERSION: version(DISTRIBUTION)}
    if "OTEL_SERVICE_NAME" not in os.environ:
        facts[SERVICE_NAME] = service
    provider = TracerProvider(resource=Resource.create(facts))
    # the spans wait in a bounded queue of their own thread: a collector that is away costs spans
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    atexit.register(provider.shutdown)
    trace.set_tracer_provider(provider)


def current_traceparent() -> str | None:
    """Return the ``traceparent`` of the current span; None outside a sampled trace."""
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    carrier: dict[str, str] = {}
    _CONTEXT.inject(carrier)
    return carrier["traceparent"]


@contextmanager
def span(
    name: str,
    parent: Context | None = None,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    attributes: Attributes | None = None,
) -> Iterator[None]:
    """Run the body in a span below ``parent``, by default below the current span.

    No exception's text is recorded in it.
    """
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def continued(
    traceparent: str | None, name: str, attributes: Attributes
) -> AbstractContextManager[None]:
    """Run the body in a span of the trace that ``traceparent`` names.

    None, and a value that is not a ``traceparent``, begin a trace of their own.
    """
    parent = _CONTEXT.extract({} if traceparent is None else {"traceparent": traceparent})
    return span(name, parent, trace.SpanKind.CONSUMER, attributes)


def record_span(name: str, seconds: float) -> None:
    """Record a span that ends now, below the current one, and began ``seconds`` ago."""
    if trace.get_current_span().is_recording():
        now = time.time_ns()
        _tracer.start_span(name, start_time=now - int(seconds * 1e9)).end(now)
