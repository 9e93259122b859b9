"""The library as the doors see it: documents with names, and where an asset's file lies. Queries are `infra.catalog.lookups`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from asd_core.errors import NotFound, RequestError
from asd_core.records import Analysis
from infra.catalog import lookups
from infra.catalog.rows import AssetRow
from rollcall.api.document import Document, document

if TYPE_CHECKING:
    from infra.artifacts import ArtifactStore
    from infra.catalog.connection import Catalog

KEPT = 4  # analyses in memory: a page asks for one several times


class Library:
    """Reads a library. Safe for several threads."""

    def __init__(self, catalog: Catalog, artifacts: ArtifactStore) -> None:
        self.catalog = catalog
        self._artifacts = artifacts
        self._analyses: OrderedDict[str, Analysis] = OrderedDict()
        self._lock = threading.Lock()

    def asset(self, name: str) -> AssetRow:
        """Return the asset that is meant; see `lookups.find_asset`."""
        with self.catalog.reading() as connection:
            return lookups.find_asset(connection, name)

    def analysis(self, asset: AssetRow) -> Analysis:
        """Return what is known of an asset by itself.

        Raises:
            RequestError: it was not analysed, or its analysis is missing or damaged.
        """
        if asset.state != "done" or asset.analysis_key is None:
            raise RequestError(f"{asset.name} has no result: it is {asset.state}{f' ({asset.reason})' if asset.reason else ''}")
        with self._lock:
            kept = self._analyses.get(asset.analysis_key)
            if kept is not None:
                self._analyses.move_to_end(asset.analysis_key)
                return kept
        analysis = self._artifacts.load(asset.analysis_key, Analysis)
        if analysis is None:
            raise RequestError(f"the analysis of {asset.name} is missing from the store; `rollcall ingest` makes it again")
        with self._lock:
            self._analyses[asset.analysis_key] = analysis
            while len(self._analyses) > KEPT:
                self._analyses.popitem(last=False)
        return analysis

    def document(self, asset: AssetRow) -> Document:
        """Return an asset's document, with the names that its people bear in the library now."""
        with self.catalog.reading() as connection:
            names = lookups.asset_names(connection, asset.sha256)
        return document(self.analysis(asset), name=asset.name, sha256=asset.sha256, names=names)

    def file(self, asset: AssetRow) -> Path:
        """Return where an asset's file lies on this machine.

        Raises:
            NotFound: it lies elsewhere, was moved, or is another file by now.
        """
        path = local_path(asset.uri)
        if path is None or not path.is_file():
            raise NotFound(f"the file of {asset.name} is not where it was{f': {path}' if path else ''}")
        if path.stat().st_size != asset.size:
            raise NotFound(f"{path} has changed since it was analysed; `rollcall ingest` takes the new one")
        return path


def local_path(uri: str | None) -> Path | None:
    """Return the path that a file uri means; None for what lies elsewhere.

    >>> local_path("file:///media/a%20b.mp4")
    PosixPath('/media/a b.mp4')
    """
    if uri is None:
        return None
    if uri.startswith("/"):
        return Path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
