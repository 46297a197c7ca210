"""OpenMetrics for a monitoring system, on request: counts and times, never names, prompts or ids.

Served on 127.0.0.1 alone and without a token: it tells nothing but how busy the server is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core_server.errors import AddressInUse
from core_server.jobs.engine import EngineState
from core_server.jobs.service import JobService

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric

HOST = "127.0.0.1"


class Metrics:
    """What a scrape finds; asked anew each time."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """Runs on the metrics server's thread: reads single values, changes nothing."""
        from prometheus_client.core import (  # noqa: PLC0415 - only servers that are watched
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        from core_server import __version__  # noqa: PLC0415

        figures = self._jobs.figures
        yield InfoMetricFamily("scumble_server", "Version", {"version": __version__})
        ended = CounterMetricFamily(
            "scumble_jobs_ended", "Jobs ended since the start", labels=["state"]
        )
        for state, count in sorted(figures.ended.items()):
            ended.add_metric([state], count)
        yield ended
        yield CounterMetricFamily(
            "scumble_jobs_accepted", "Jobs accepted since the start", figures.accepted
        )
        yield CounterMetricFamily(
            "scumble_jobs_tried_again", "Attempts lost to a dead worker", figures.tried_again
        )
        yield CounterMetricFamily(
            "scumble_job_waiting_seconds", "Time jobs waited", figures.waited_seconds
        )
        yield CounterMetricFamily(
            "scumble_job_running_seconds", "Time jobs ran", figures.ran_seconds
        )
        yield GaugeMetricFamily(
            "scumble_jobs_active", "Jobs waiting and running", self._jobs.active_jobs()
        )
        live = self._jobs.live
        yield GaugeMetricFamily("scumble_live_sessions", "Live sessions open", live.sessions)
        frames = CounterMetricFamily(
            "scumble_live_frames", "Frames of live sessions since the start", labels=["answer"]
        )
        for answer in ("pictures", "skipped", "dropped"):
            frames.add_metric([answer], live.figures[answer])
        yield frames
        yield from self._caches()
        yield GaugeMetricFamily(
            "scumble_store_bytes", "Bytes of stored images", self._jobs.stored_bytes()
        )
        ready = self._jobs.engine.status.state is EngineState.READY
        yield GaugeMetricFamily("scumble_worker_ready", "Whether the worker is ready", ready)

    def _caches(self) -> Iterator[Metric]:
        """As of the last job. Gauges: a model that leaves takes its counts along."""
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        info = self._jobs.engine.status.info
        for what in ("hits", "misses", "bytes"):
            metric = GaugeMetricFamily(
                f"scumble_cache_{what}", f"{what.title()} of the worker's caches", labels=["cache"]
            )
            for cache in () if info is None else info.caches:
                metric.add_metric([cache.name], getattr(cache, what))
            yield metric


class MetricsServer:
    """http://127.0.0.1:<port>/metrics on a thread of its own. Errors: AddressInUse."""

    def __init__(self, port: int, jobs: JobService) -> None:
        from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(Metrics(jobs))
        self._server: WSGIServer
        try:
            self._server, self._thread = start_http_server(port, HOST, registry)
        except OSError as error:
            raise AddressInUse(
                f"Port {port} for the metrics is taken ({error.strerror}); choose another --metrics-port.",
                port=str(port),
            ) from error

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
