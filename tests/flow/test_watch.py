"""A scan of a place without a service: what it hands on, to a Prefect server that only takes it down."""

import pytest

from flows import watch
from flows.process_library import process_library
from infra.artifacts import ArtifactStore
from infra.objects import FolderStore
from infra.prefect_api import FlowRun
from infra.settings import Place, load_settings
from infra.wiring import open_adapters
from tasks.plan import make_plan
from tests.material import OUR_MODELS, SHORT_FILMS, folder_of


class Taken:
    """A Prefect server where nothing ever begins."""

    def __init__(self):
        self.uris = []

    def runs(self, flow, states):
        return iter(())

    def submit(self, deployment, parameters, *, key, name, queue, again):
        assert again  # an earlier run of the same version has ended well: without this it would be taken for the answer
        self.uris.append(parameters["uri"])
        return FlowRun(id=key, key=key, state="SCHEDULED", message="", parameters=parameters)


@pytest.mark.service
@pytest.mark.timeout(300)
def test_an_analysis_that_is_gone_from_the_store_is_made_again(tmp_path, films):
    folder = folder_of(tmp_path / "media", films(SHORT_FILMS[0])[0])
    place, settings = Place(root=str(folder), collection="library"), load_settings(home=tmp_path / "home", models=OUR_MODELS)

    def ingest():
        (result,) = process_library([folder], direct=True, settings=settings).results
        return result.state

    def scan():
        with open_adapters(settings) as adapters:
            server = Taken()
            found = watch.scan(place, adapters, make_plan(settings), server)
            return found.count("indexed"), found.count("work"), server.uris

    assert (ingest(), scan()) == ("done", (1, 0, []))
    with open_adapters(settings) as adapters, adapters.catalog.reading() as connection:
        ((key,),) = connection.execute("SELECT analysis_key FROM asset").fetchall()
        adapters.artifacts.delete(key)
    assert scan() == (0, 1, [str(folder / SHORT_FILMS[0])])
    assert (ingest(), scan()) == ("done", (1, 0, []))


class Asked(ArtifactStore):
    """A store that takes down how many keys it was asked for."""

    def __init__(self, folder):
        super().__init__(FolderStore(folder))
        self.asked = []

    def present(self, keys):
        self.asked.append(len(keys))
        return super().present(keys)


def test_a_scan_of_a_large_library_looks_for_some_analyses(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LOOKED_FOR", 20)
    store, keys = Asked(tmp_path), {f"{number:064x}" for number in range(60)}
    for key in keys:
        store.save(key, 1.5)
    assert (watch._lost(store, keys), store.asked) == (set(), [20])
    gone = set(sorted(keys)[:50])
    for key in gone:
        store.delete(key)
    lost = watch._lost(store, keys)
    assert lost and lost <= gone and store.asked == [20, 20]
    assert watch._lost(store, set()) == set()
