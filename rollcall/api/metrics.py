"""`GET /metrics`: the library in numbers, as Prometheus reads them. Everything comes from the catalog, so that any one process can tell it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from infra.catalog.connection import Catalog
from infra.catalog.figures import Figures, read_figures

router = APIRouter()
HOUR = 3600.0


def _no_positions() -> Mapping[str, int]:
    return {}


@dataclass(frozen=True)
class Telling:
    """What metrics are made of: the catalog, where the vector indexes stand (sha256 of the embedder -> entry of the log), a folder on the disk."""

    catalog: Catalog
    home: Path
    index_positions: Callable[[], Mapping[str, int]] = field(default=_no_positions)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of this moment, as prometheus_client asks for them."""
        with self.catalog.reading() as connection:
            figures = read_figures(connection, self.index_positions())
        yield from families(figures)
        yield _gauge("rollcall_home_free_bytes", "Free space on the disk of this process's home folder.", shutil.disk_usage(self.home).free)


@router.get("/metrics", include_in_schema=False)
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(request.app.state.telling)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def families(figures: Figures) -> Iterator[Metric]:
    """Yield figures as metrics."""
    yield _gauge("rollcall_build_info", "1, labelled with the version of the program and of the database's schema.",
                 {(version("rollcall"), str(figures.schema)): 1}, ("version", "schema"))  # fmt: skip
    yield _gauge("rollcall_assets", "Assets by state.", _keyed(figures.assets), ("state",))
    yield _gauge("rollcall_published_media_seconds", "Duration of all published media.", figures.media_seconds)
    yield _gauge("rollcall_media_speed_ratio", "Seconds of media published per second of the last hour, on all machines together.",
                 figures.media_seconds_last_hour / HOUR)  # fmt: skip
    yield _gauge("rollcall_oldest_unfinished_asset_age_seconds", "Since when the longest waiting asset is known; 0 if none waits.",
                 figures.oldest_unfinished_seconds)  # fmt: skip
    runs = CounterMetricFamily("rollcall_stage_runs", "Stages that ended, by outcome: made, cached, failed.", labels=("stage", "outcome"))
    seconds = SummaryMetricFamily("rollcall_stage_duration_seconds", "Wall time of stages that were made.", labels=("stage",))
    for one in figures.stages:
        runs.add_metric((one.stage, one.outcome), one.runs)
        if one.outcome == "made":
            seconds.add_metric((one.stage,), count_value=one.runs, sum_value=one.seconds)
    yield runs
    yield seconds
    yield _gauge("rollcall_quarantined_files", "Files set aside, by class of the error.", _keyed(figures.quarantined), ("error",))
    yield _gauge("rollcall_index_lag_entries", "Changes of vectors that the written index does not hold yet, by beginning of the embedder's hash.",
                 {(model[:12],): lag for model, lag in figures.index_lag.items()}, ("model",))  # fmt: skip
    yield _gauge("rollcall_runs_in_work", "Runs at work now, by kind.", _keyed(figures.runs), ("kind",))
    yield _gauge("rollcall_last_done_timestamp_seconds", "When the last run of a kind ended well.", _keyed(figures.last_done), ("kind",))
    yield _gauge("rollcall_locks_held", "Assets and spans that some process works on now.", figures.locks)
    yield _gauge("rollcall_database_bytes", "Size of the database.", figures.database_bytes)


def _keyed(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}


def _gauge(name: str, told: str, value: float | Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=labels)
    for key, number in value.items() if isinstance(value, Mapping) else (((), value),):
        family.add_metric(key, number)
    return family
