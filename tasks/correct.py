"""Corrections: a fact is appended and the library's persons are said anew, in one serial transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from asd_core.errors import Ambiguous, NotFound, RequestError
from asd_core.identity.replay import holding_facts
from asd_core.records import Anchor, Fact
from infra.catalog.corrections import add_fact, read_facts
from tasks.identify import identify
from tasks.plan import Plan

if TYPE_CHECKING:
    from infra.catalog.connection import Connection


def state_fact(connection: Connection, plan: Plan, kind: str, *, anchors: Iterable[Anchor] = (), value: str | None = None, who: str) -> Fact:
    """Append a fact, let it act, and return it."""
    fact = add_fact(connection, kind, anchors=anchors, value=value, who=who)
    identify(connection, plan)
    return fact


def undo_fact(connection: Connection, plan: Plan, wanted: str | None, *, who: str) -> Fact:
    """Undo the fact whose id begins so, or the latest one that holds; return what was undone.

    Raises:
        NotFound: no such fact, or none holds.
        Ambiguous: several ids begin so.
        RequestError: the fact does not hold any more.
    """
    facts = read_facts(connection)
    holding = {fact.id: fact for fact in holding_facts(facts)}
    if wanted is None:
        if not holding:
            raise NotFound("nothing to undo")
        chosen = max(holding.values(), key=lambda fact: fact.order)
    else:
        alike = [fact for fact in facts if fact.id.startswith(wanted)]
        if not alike:
            raise NotFound(f"no fact {wanted!r}")
        if len(alike) > 1:
            raise Ambiguous(f"{wanted!r} may be {', '.join(fact.id for fact in alike)}")
        chosen = alike[0]
        if chosen.kind != "undo" and chosen.id not in holding:
            raise RequestError(f"{chosen.id} is undone already")
    state_fact(connection, plan, "undo", value=chosen.id, who=who)
    return chosen
