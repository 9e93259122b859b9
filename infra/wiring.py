"""Wiring: the one place that knows all adapters. `open_adapters(settings)` gives them for the length of a command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infra import postgres
from infra.artifacts import ArtifactStore
from infra.catalog.connection import Catalog
from infra.objects import FolderStore, ObjectStore
from infra.places import Places
from infra.sandbox import GIGABYTE, Sandbox
from infra.settings import Settings, child_environment, ensure_home
from infra.telemetry import start_logging, stop_logging

if TYPE_CHECKING:
    from infra.vectors import VectorIndex


@dataclass
class Adapters:
    """What the flows and the doors work with."""

    settings: Settings
    catalog: Catalog
    objects: ObjectStore
    artifacts: ArtifactStore
    sandbox: Sandbox
    places: Places
    indexes: dict[str, VectorIndex] = field(default_factory=dict)

    def vectors(self, model: str, dimension: int) -> VectorIndex:
        """Return the index of an embedder's vectors (infra.vectors), opened once; mirrored where objects lie in a bucket."""
        from infra.vectors import VectorIndex  # only now: FAISS is slow to import

        if model not in self.indexes:
            store = self.objects if self.settings.objects_url is not None else None
            self.indexes[model] = VectorIndex(self.settings.home / "vectors", model=model, dimension=dimension, store=store)
        return self.indexes[model]


def open_objects(settings: Settings) -> ObjectStore:
    """Return where artifacts and exports lie; nothing is asked of a service yet."""
    if settings.objects_url is None:
        return FolderStore(ensure_home(settings.home) / "objects")
    from infra.s3 import S3Service  # only now: the client is slow to import

    return S3Service(settings.s3).at(settings.objects_url)


@contextlib.contextmanager
def open_sandbox(settings: Settings, *, preload: tuple[str, ...] = ()) -> Iterator[Sandbox]:
    """Give the decoding children alone: what `analyse` needs, no library."""
    limits = settings.limits
    with Sandbox(
        settings.workers, environment=child_environment(), preload=preload, memory=int(limits.memory_gigabytes * GIGABYTE),
        timeout=limits.seconds_at_least,
    ) as sandbox:  # fmt: skip
        yield sandbox


@contextlib.contextmanager
def open_catalog(settings: Settings) -> Iterator[Catalog]:
    """Give the library's database, migrated; the embedded one is started or shared for the length of the block.

    Raises:
        RollcallError: the database cannot be started or reached; one line says why.
    """
    connections = 2 * settings.workers + 4
    with contextlib.ExitStack() as stack:
        if settings.database_url is not None:
            catalog = Catalog(settings.database_url.get_secret_value(), connections=connections)
        else:
            server = postgres.EmbeddedPostgres(ensure_home(settings.home))
            info = stack.enter_context(postgres.supervisor(settings.home).use())
            catalog = Catalog(info["url"], connections=connections, lost=lambda: not server.runs(info))
        stack.callback(catalog.close)
        catalog.open()
        yield catalog


@contextlib.contextmanager
def open_adapters(settings: Settings, *, preload: tuple[str, ...] = ()) -> Iterator[Adapters]:
    """Give all adapters; the database and the first decoding child start side by side. Everything that was started is ended.

    Args:
        settings: of this command.
        preload: modules that decoding children import while they start; none: no child starts before it is needed.
    """
    home = ensure_home(settings.home)
    objects = open_objects(settings)
    with contextlib.ExitStack() as stack:
        start_logging(home)
        stack.callback(stop_logging)
        sandbox = stack.enter_context(open_sandbox(settings, preload=preload))
        if preload:
            sandbox.warm()
        catalog = stack.enter_context(open_catalog(settings))
        places, artifacts = Places(settings), ArtifactStore(objects)
        yield Adapters(settings=settings, catalog=catalog, objects=objects, artifacts=artifacts, sandbox=sandbox, places=places)
