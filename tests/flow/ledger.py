"""A small honest stand-in for the adapters: a real artifact store in a folder, and a catalog that only remembers what was said to it."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

from asd_core.analysis import AnalysisOptions
from asd_core.errors import Unavailable
from asd_core.identity.assign import AssignOptions
from infra.artifacts import ArtifactStore
from infra.objects import FolderStore
from infra.places import Places
from tasks.plan import Plan


class Ledger:
    """Keeps the parameters of every statement; `away` makes it unreachable so many times."""

    def __init__(self):
        self.rows, self.away = [], 0

    @contextlib.contextmanager
    def transaction(self, *, serial=False):
        if self.away:
            self.away -= 1
            raise Unavailable("the database is out of reach")
        yield self

    def execute(self, statement, parameters=None):
        self.rows.append(parameters)

    def outcomes(self):
        """Return (stage, span, outcome, attempt) of every recorded stage."""
        return [(row[2], row[3], row[5], row[9]) for row in self.rows]


def fake_adapters(folder):
    objects = FolderStore(folder)
    settings = SimpleNamespace(workers=2)
    return SimpleNamespace(catalog=Ledger(), artifacts=ArtifactStore(objects), objects=objects, settings=settings, places=Places(settings))


def fake_plan(**changes):
    models = {role: SimpleNamespace(key=f"key of {role}") for role in ("detector", "speaking", "embedder")}
    told = {"options": AnalysisOptions(), "assign": AssignOptions(), "models": models, "profile": "cpu-fp32", "threads": 1, "span_marks": 6}
    return Plan(**(told | changes))
