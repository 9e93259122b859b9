"""Every packaged embedder says from which cosines faces are one person, and the stages take them from there."""

from __future__ import annotations

import pytest

from asd_core.identity.assign import AssignOptions
from asd_core.identity.cluster import ClusterOptions
from asd_core.identity.search import SearchOptions
from asd_core.models.manifest import Manifest, packaged_manifests

EMBEDDERS = [m for m in packaged_manifests() if m.role == "embedder"]


@pytest.mark.parametrize("manifest", EMBEDDERS, ids=lambda m: m.name)
def test_cosines_are_stated_and_in_order(manifest: Manifest) -> None:
    stated = manifest.thresholds
    assert 0 < stated["verify_cosine"] < stated["same_person_cosine"] < stated["library_cosine"] < stated["together_cosine"] < 1
    assert stated["search_cosine"] < stated["support_cosine"]


@pytest.mark.parametrize("manifest", EMBEDDERS, ids=lambda m: m.name)
def test_options_take_them(manifest: Manifest) -> None:
    stated = manifest.thresholds
    group, library, search = (o.for_embedder(stated) for o in (ClusterOptions(), AssignOptions(), SearchOptions()))
    assert (group.same_person_cosine, group.together_cosine) == (stated["same_person_cosine"], stated["together_cosine"])
    assert library.library_cosine == stated["library_cosine"]
    assert (search.search_cosine, search.support_cosine) == (stated["search_cosine"], stated["support_cosine"])
    assert group.clear_size == stated.get("clear_size", ClusterOptions().clear_size)


def test_what_a_manifest_does_not_state_stays() -> None:
    assert ClusterOptions().for_embedder({}) == ClusterOptions()
    assert AssignOptions().for_embedder({}) == AssignOptions()
    assert SearchOptions().for_embedder({}) == SearchOptions()
