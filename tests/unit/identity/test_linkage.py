"""Agglomeration against a plain loop, links, margins; prototypes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.identity.linkage import LinkageOptions, agglomerate
from asd_core.identity.prototypes import prototypes, template, unit


def plain(mean: np.ndarray, best: np.ndarray, forbidden: np.ndarray, options: LinkageOptions) -> list[frozenset[int]]:
    """Average linkage as its definition says, without margins: all pairs are looked at anew in every step."""
    clusters = [frozenset([k]) for k in range(len(mean))]
    while True:
        found = []
        for a in clusters:
            for b in clusters:
                if min(a) < min(b):
                    pairs = np.ix_(sorted(a), sorted(b))
                    score = (1 - options.best_share) * mean[pairs].mean() + options.best_share * best[pairs].max()
                    overruled = options.overrule is not None and score >= options.overrule
                    if score >= options.threshold and (overruled or not forbidden[pairs].any()):
                        found.append((score, -min(a), -min(b), a, b))
        if not found:
            return sorted(clusters, key=min)
        *_, a, b = max(found, key=lambda f: f[:3])
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from([None, 0.6]))
def test_average_linkage_is_its_definition(seed: int, n: int, overrule: float | None) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(n, 4)))
    mean = (vectors @ vectors.T).astype(np.float32)
    best = np.minimum(mean + rng.uniform(0, 0.2, size=mean.shape).astype(np.float32), 1)
    best = np.maximum(best, best.T)
    forbidden = rng.random(size=mean.shape) < 0.1
    forbidden = forbidden | forbidden.T
    np.fill_diagonal(forbidden, val=False)
    options = LinkageOptions(0.4, 0.3, overrule=overrule)
    labels = agglomerate(mean, best, forbidden, options)
    assert [frozenset(np.flatnonzero(labels == k).tolist()) for k in range(labels.max(initial=-1) + 1)] == plain(mean, best, forbidden, options)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 14), st.randoms(use_true_random=False))
def test_order_does_not_matter_with_margins(seed: int, n: int, random) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(n, 4)))
    mean = (vectors @ vectors.T).astype(np.float32)
    order = list(range(n))
    random.shuffle(order)
    options = LinkageOptions(0.4, 0.3, margin=0.1)
    labels = agglomerate(mean, mean, np.zeros((n, n), np.bool_), options)
    pick = np.ix_(order, order)
    shuffled = agglomerate(mean[pick], mean[pick], np.zeros((n, n), np.bool_), options)
    for a in range(n):
        for b in range(n):
            assert (labels[order[a]] == labels[order[b]]) == (shuffled[a] == shuffled[b])


def test_a_rival_of_equal_right_keeps_all_three_apart_until_it_joins() -> None:
    mean = np.array([[1, 0.6, 0.58], [0.6, 1, 0.2], [0.58, 0.2, 1]], np.float32)
    none = np.zeros((3, 3), np.bool_)
    assert agglomerate(mean, mean, none, LinkageOptions(0.5, 0.0, margin=0.05)).tolist() == [0, 1, 2]
    assert agglomerate(mean, mean, none, LinkageOptions(0.5, 0.0, margin=0.01)).tolist() == [0, 0, 1]
    mean[1, 2] = mean[2, 1] = 0.55  # the rivals turn out to be one: nothing is in doubt any more
    assert agglomerate(mean, mean, none, LinkageOptions(0.5, 0.0, margin=0.05)).tolist() == [0, 0, 0]


def test_prototypes_of_two_looks() -> None:
    rng = np.random.default_rng(1)
    looks = unit(rng.normal(size=(2, 32)))
    vectors = np.concatenate([unit(look + 0.05 * rng.normal(size=(n, 32))) for look, n in zip(looks, (6, 3), strict=True)])
    found, support = prototypes(vectors, np.ones(9, np.float32))
    assert support.tolist() == [6, 3]
    assert np.all((found * looks).sum(axis=1) > 0.95)
    order = rng.permutation(9)
    again, _ = prototypes(vectors[order], np.ones(9, np.float32))
    assert np.allclose(found, again, atol=1e-5)


def test_one_poor_chip_is_no_look() -> None:
    vectors = np.concatenate([np.tile(np.eye(8, dtype=np.float32)[:1], (5, 1)), np.eye(8, dtype=np.float32)[1:2]])
    found, support = prototypes(vectors, np.array([1, 1, 1, 1, 1, 0.05], np.float32))
    assert found.shape == (1, 8)
    assert np.isclose(support[0], 5.05)


def test_prototypes_and_templates_of_nothing() -> None:
    none = np.zeros((0, 8), np.float32)
    assert prototypes(none, np.zeros(0, np.float32))[0].shape == (0, 8)
    assert template(none, np.zeros(0, np.float32)).tolist() == [0] * 8
