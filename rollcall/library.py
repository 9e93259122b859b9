"""The library as the doors see it: documents with names, and where an asset's file lies. Queries are `infra.catalog.lookups`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from asd_core.errors import NotFound, RequestError
from asd_core.records import Analysis
from infra.catalog import lookups
from infra.catalog.rows import AssetRow
from rollcall.api.document import Document, document

if TYPE_CHECKING:
    from infra.artifacts import ArtifactStore
    from infra.catalog.connection import Catalog
    from infra.places import Copy, Places

KEPT = 4  # analyses in memory: a page asks for one several times


class Library:
    """Reads a library. Safe for several threads."""

    def __init__(self, catalog: Catalog, artifacts: ArtifactStore, places: Places) -> None:
        self.catalog = catalog
        self._artifacts, self._places = artifacts, places
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

    def source(self, asset: AssetRow) -> Copy:
        """Return what gives an asset's file: its path on this machine, to which an object of a bucket is fetched when it is asked for.

        Raises:
            NotFound: it was moved, or is another file by now.
            Unavailable: the service of its bucket is out of reach.
        """
        info = self._places.stat(asset.uri) if asset.uri is not None else None
        if info is None:
            raise NotFound(f"the file of {asset.name} is not where it was{f': {asset.uri}' if asset.uri else ''}")
        if info.size != asset.size:
            raise NotFound(f"{info.key} has changed since it was analysed; `rollcall ingest` takes the new one")
        return self._places.copy(info.key, version=info.version, size=info.size, sha256=asset.sha256)
