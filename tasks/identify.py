"""`identify`: the people of all assets become the persons of the library. Serialised by a database lock; part of a publishing transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asd_core.identity.assign import assign
from asd_core.records import Partition
from infra.catalog import corrections, people
from tasks.plan import Plan
from tasks.stage import Job, Retry, Stage

if TYPE_CHECKING:
    from infra.catalog.connection import Connection


def identify(connection: Connection, plan: Plan) -> Partition:
    """Say anew who is who in the library, write what differs, and return it.

    Needs a serial transaction (`Catalog.transaction(serial=True)`), as do the commands that state a fact. Assets that were analysed with
    another embedder keep their persons until they are analysed again.
    """
    partition = assign(
        people.read_groups(connection, plan.models["embedder"].sha256),
        corrections.read_facts(connection),
        plan.assign,
        minted=people.read_minted(connection),
    )
    people.apply_partition(connection, partition)
    return partition


def _identify(job: Job, span: str, connection: Connection) -> Partition:
    return identify(connection, job.plan)


# No retry of its own: a transaction that failed is gone, and `publish` is tried again as a whole.
IDENTIFY = Stage("identify", version=1, makes=Partition, work=_identify, reads=lambda plan: plan.assign, retry=Retry(()), stored=False)
