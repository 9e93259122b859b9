"""Whatever fails under the service, the library becomes that of an undisturbed run, row for row. The page of it: docs/reliability.md."""

from __future__ import annotations

import pytest

from tests.material import SHORT_FILMS
from tests.services.arena import Arena
from tests.services.faults import FAULTS, CannotBeTried

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def arena(tmp_path_factory, postgres_server, s3_server, films):
    arena = Arena(tmp_path_factory.mktemp("faults"), postgres_server, s3_server, {path.name: path for path in films(*SHORT_FILMS)})
    yield arena
    arena.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_library_is_whole_after(fault, arena):
    try:
        outcomes = fault(arena)
    except CannotBeTried as error:
        pytest.skip(str(error))
    for one in outcomes:
        print(f"\n{one.fault}: {one.seconds:.1f} s")
    assert [(one.fault, one.differing) for one in outcomes if one.differing] == []
