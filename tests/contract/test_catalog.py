"""The library's database: what is published can be asked for, once and the same, whatever the order."""

import threading

import numpy as np
import psycopg
import pytest

from asd_core.errors import Ambiguous, NotFound, RequestError, Unavailable
from infra.catalog import assets, corrections, index_log, lookups, people, runs
from infra.catalog.connection import Catalog, CatalogError, migrate, migrations
from infra.catalog.publish import publish, withdraw
from infra.catalog.snapshot import snapshot
from tests.contract.library import EMBEDDER, add, identify, made_publication, see, sha

pytestmark = pytest.mark.service


def taken(catalog):
    with catalog.reading() as connection:
        return snapshot(connection)


class TestMigrations:
    def test_apply_once(self, database_url):
        with psycopg.connect(database_url, autocommit=True) as connection:
            assert migrate(connection) == 0

    def test_numbers_are_consecutive(self):
        assert [version for version, _, _ in migrations()] == list(range(1, len(migrations()) + 1))

    def test_two_at_once(self, embedded_url):
        with psycopg.connect(embedded_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE twice")
        url, counts = embedded_url.replace("/postgres?", "/twice?"), []

        def go():
            with psycopg.connect(url, autocommit=True) as connection:
                counts.append(migrate(connection))

        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(counts) == [0, len(migrations())]

    def test_refuses_a_changed_file_and_a_newer_library(self, database_url):
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("UPDATE schema_version SET sha256 = 'other'")
            with pytest.raises(CatalogError, match="changed"):
                migrate(connection)
            connection.execute("INSERT INTO schema_version VALUES (999, 'x')")
            with pytest.raises(CatalogError, match="newer"):
                migrate(connection)

    def test_all_tables_of_the_design_exist(self, catalog):
        with catalog.reading() as connection:
            names = {row[0] for row in connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")}
        wanted = """collection asset location audio_track shot track track_embedding appearance turn asset_person person person_alias prototype
                    voice_embedding correction model run stage_run quarantine opt_out search_audit index_log webhook api_token
                    who_spoke_when airtime_by_person_day co_appearance"""
        assert set(wanted.split()) <= names


class TestPublish:
    def test_what_is_published_can_be_asked_for(self, catalog):
        assert add(catalog, "a/one.mp4")
        with catalog.reading() as connection:
            (asset,) = lookups.list_assets(connection)
            turns = lookups.asset_turns(connection, asset.sha256)
            persons = lookups.asset_people(connection, asset.sha256)
            assert connection.execute("SELECT thumbnail FROM track WHERE track_id = 't1'").fetchone() == (b"png t1",)
        assert (asset.name, asset.collection, asset.state, asset.people, asset.turns) == ("a/one.mp4", "shows", "done", 2, 3)
        assert (asset.width, asset.height, asset.frame_rate, asset.duration) == (640, 360, 25.0, 10.0)
        assert asset.talk_time == pytest.approx(2.9)  # 1.0-1.5 and 1.4-1.9 overlap
        assert [(t.start, t.people_id, t.voice_id, t.on_screen) for t in turns] == [
            (1, "p1", None, True),
            (1.4, "p2", None, True),
            (7, None, "v1", False),
        ]
        assert turns[0].parts == [{"start": 1.0, "end": 1.5, "track_id": "t1"}]
        assert [(p.people_id, p.talk_time, p.screen_time, p.turns, p.track_id) for p in persons] == [
            ("p1", 0.5, 4.0, 1, "t1"),
            ("p2", 0.5, 4.0, 1, "t2"),
        ]
        assert all(p.person_id for p in persons)

    def test_again_changes_nothing(self, catalog):
        add(catalog, "a/one.mp4")
        before = taken(catalog)
        with catalog.reading() as connection:
            ids = connection.execute("SELECT id FROM track_embedding ORDER BY id").fetchall()
        assert not add(catalog, "a/one.mp4")
        assert taken(catalog) == before
        with catalog.reading() as connection:
            assert connection.execute("SELECT id FROM track_embedding ORDER BY id").fetchall() == ids
            assert connection.execute("SELECT count(*) FROM index_log").fetchone() == (2,)

    def test_other_content_replaces(self, catalog):
        add(catalog, "a/one.mp4")
        add(catalog, "a/one.mp4", faces=(1,))
        with catalog.reading() as connection:
            (asset,) = lookups.list_assets(connection)
            assert (asset.people, asset.turns) == (1, 2)
            assert connection.execute("SELECT action, count(*) FROM index_log GROUP BY action ORDER BY action").fetchall() == [
                ("add", 3),
                ("remove", 2),
            ]
            persons = lookups.list_persons(connection)
        assert len(persons) == 1

    def test_a_broken_transaction_leaves_nothing(self, catalog):
        with catalog.transaction() as connection:
            see(connection, "a/one.mp4")
        before = taken(catalog)

        def break_off():
            with catalog.transaction(serial=True) as connection:
                publish(connection, sha("a/one.mp4"), made_publication("a/one.mp4"))
                raise KeyError

        with pytest.raises(KeyError):
            break_off()
        assert taken(catalog) == before

    def test_unknown_asset(self, catalog):
        with pytest.raises(NotFound), catalog.transaction(serial=True) as connection:
            publish(connection, sha("a/one.mp4"), made_publication("a/one.mp4"))

    def test_order_does_not_matter(self, catalog, embedded_url, template_database):
        shows = {"a/one.mp4": (1, 2), "a/two.mp4": (2, 3), "b/three.mp4": (1, 3, 4)}
        with psycopg.connect(embedded_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE other_order TEMPLATE {template_database}")
        other = Catalog(embedded_url.replace("/postgres?", "/other_order?"))
        for name, faces in shows.items():
            add(catalog, name, faces)
        for name in reversed(shows):
            add(other, name, shows[name])
        assert taken(catalog) == taken(other)
        other.close()
        with catalog.reading() as connection:
            assert len(lookups.list_persons(connection)) == 4

    def test_two_at_once(self, catalog):
        names = [f"s/{n}.mp4" for n in range(6)]
        errors = []

        def go(part):
            try:
                for name in part:
                    add(catalog, name, (1, 2))
            except Exception as error:  # noqa: BLE001 -- shown below
                errors.append(error)

        threads = [threading.Thread(target=go, args=(names[n::2],)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        with catalog.reading() as connection:
            assert [p.assets for p in lookups.list_persons(connection)] == [6, 6]

    def test_withdrawn(self, catalog):
        add(catalog, "a/one.mp4")
        with catalog.transaction(serial=True) as connection:
            withdraw(connection, sha("a/one.mp4"))
            identify(connection)
        with catalog.reading() as connection:
            assert [a.state for a in lookups.list_assets(connection)] == ["new"]
            assert lookups.list_persons(connection) == []
            assert connection.execute("SELECT count(*) FROM track").fetchone() == (0,)


class TestGroupsAndFacts:
    def test_groups_come_back_as_they_were(self, catalog):
        add(catalog, "a/one.mp4")
        with catalog.reading() as connection:
            groups = people.read_groups(connection, EMBEDDER)
        wanted = made_publication("a/one.mp4").groups
        assert [g.key for g in groups] == [g.key for g in wanted]
        for got, want in zip(groups, wanted, strict=True):
            np.testing.assert_array_equal(got.prototypes, want.prototypes)
            np.testing.assert_array_equal(got.support, want.support)
            np.testing.assert_array_equal(got.sightings, want.sightings)
            assert (got.anchor, got.together, got.identifiable) == (want.anchor, want.together, want.identifiable)

    def test_another_embedder_sees_no_groups(self, catalog):
        add(catalog, "a/one.mp4")
        with catalog.reading() as connection:
            assert people.read_groups(connection, "f" * 64) == ()

    def test_rename_merge_undo(self, catalog):
        add(catalog, "a/one.mp4", (1, 2))
        add(catalog, "a/two.mp4", (3,))
        with catalog.transaction(serial=True) as connection:
            first, second, third = sorted(lookups.list_persons(connection), key=lambda p: (p.assets, p.anchor_asset, p.anchor_time))
            corrections.add_fact(connection, "rename", anchors=[first.anchor], value="Ann Example", who="test")
            identify(connection)
        with catalog.transaction(serial=True) as connection:
            assert lookups.find_person(connection, "ann example").id == first.id
            fact = corrections.add_fact(connection, "merge", anchors=[first.anchor, third.anchor], who="test")
            identify(connection)
            merged = lookups.find_person(connection, first.id)
            assert lookups.find_person(connection, third.id).id == merged.id
            assert len(lookups.list_persons(connection)) == 2
        with catalog.transaction(serial=True) as connection:
            corrections.add_fact(connection, "undo", value=fact.id, who="test")
            identify(connection)
            assert {p.id for p in lookups.list_persons(connection)} == {first.id, second.id, third.id}
            assert [f.kind for f in corrections.read_facts(connection)] == ["rename", "merge", "undo"]

    def test_facts_are_append_only(self, catalog):
        with catalog.transaction() as connection:
            corrections.add_fact(connection, "rename", value="x", who="test")
        for statement in ("UPDATE correction SET value = 'y'", "DELETE FROM correction"):
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"), catalog.transaction() as connection:
                connection.execute(statement)

    def test_an_id_survives_that_its_asset_comes_again(self, catalog):
        add(catalog, "a/one.mp4", (1,))
        with catalog.reading() as connection:
            (before,) = lookups.list_persons(connection)
        with catalog.transaction(serial=True) as connection:
            withdraw(connection, sha("a/one.mp4"))
            identify(connection)
        add(catalog, "a/one.mp4", (1,))
        with catalog.reading() as connection:
            assert [p.id for p in lookups.list_persons(connection)] == [before.id]


class TestLookups:
    @pytest.fixture
    def library(self, catalog):
        for name, faces in {"news/monday.mp4": (1, 2), "news/tuesday.mp4": (2, 3), "talk/monday.mp4": (4,)}.items():
            add(catalog, name, faces)
        return catalog

    def test_asset_by_name_end_hash(self, library):
        with library.reading() as connection:
            for word in (
                "news/tuesday.mp4",
                "tuesday.mp4",
                "uesday.mp4",
                sha("news/tuesday.mp4")[:8],
                sha("news/tuesday.mp4").upper(),
            ):
                assert lookups.find_asset(connection, word).name == "news/tuesday.mp4"

    def test_asset_ambiguous_and_missing(self, library):
        with library.reading() as connection:
            with pytest.raises(Ambiguous, match=r"news/monday.mp4 .*talk/monday.mp4"):
                lookups.find_asset(connection, "monday.mp4")
            for word in ("", "%", "nobody.mp4", "zzzz", "___"):
                with pytest.raises(NotFound):
                    lookups.find_asset(connection, word)

    def test_person_by_id_prefix_and_alias(self, library):
        with library.reading() as connection:
            persons = lookups.list_persons(connection)
            assert len(persons) == 4
            for person in persons:
                assert lookups.find_person(connection, person.id).id == person.id
                assert lookups.find_person(connection, person.id[:-1]).id == person.id
            with pytest.raises(Ambiguous):
                lookups.find_person(connection, persons[0].id[:1])
            for word in ("", "nobody", "%"):
                with pytest.raises(NotFound):
                    lookups.find_person(connection, word)

    def test_person_across_assets(self, library):
        with library.reading() as connection:
            shared = lookups.list_persons(connection)[0]
            assert (shared.assets, shared.turns, shared.talk_time, shared.screen_time) == (2, 2, 1.0, 8.0)
            assert [a.asset for a in lookups.person_appearances(connection, shared.id)] == ["news/monday.mp4", "news/tuesday.mp4"]
            assert [t.asset for t in lookups.person_turns(connection, shared.id)] == ["news/monday.mp4", "news/tuesday.mp4"]
            assert [p.people_id for p in lookups.person_in_assets(connection, shared.id)] == ["p2", "p1"]
            assert lookups.person_thumbnail(connection, shared.id) == b"png t1"

    def test_airtime(self, library):
        with library.reading() as connection:
            rows = lookups.airtime(connection)
            assert (rows[0].assets, rows[0].talk_time, rows[0].screen_time) == (2, 1.0, 8.0)
            assert len(rows) == 4
            assert lookups.airtime(connection, collection="none") == []

    def test_views(self, library):
        with library.reading() as connection:
            assert connection.execute("SELECT count(*), count(person_id) FROM who_spoke_when").fetchone() == (8, 5)
            pairs = connection.execute("SELECT asset, seconds FROM co_appearance ORDER BY asset").fetchall()
        assert [(asset, round(seconds, 6)) for asset, seconds in pairs] == [("news/monday.mp4", 3.6), ("news/tuesday.mp4", 3.6)]

    def test_index_log(self, library):
        with library.reading() as connection:
            changes = index_log.index_changes(connection, EMBEDDER, index_log.START)
            stands, added = changes.stands_at, list(changes.added)
            assert (changes.whole, len(added), changes.removed) == (True, 5, [])
            assert [ident for ident, _ in added] == index_log.index_ids(connection, EMBEDDER)
            assert index_log.index_count(connection, EMBEDDER) == 5
            assert index_log.index_end(connection, EMBEDDER) == stands
            nothing = index_log.index_changes(connection, EMBEDDER, stands)
            assert (nothing.stands_at, nothing.whole, list(nothing.added), nothing.removed) == (stands, False, [], [])
            found = lookups.vectors(connection, [vector_id for vector_id, _ in added] + [10**9])
        assert len(found) == 5
        row = found[added[0][0]]
        assert (row.asset, row.track_id, row.people_id, row.talk_time) == ("news/monday.mp4", "t1", "p1", 0.5)
        assert np.frombuffer(row.vectors, np.float32).reshape(2, 64)[0].tobytes() == added[0][1]
        add(library, "news/monday.mp4", (1,))
        with library.reading() as connection:
            later = index_log.index_changes(connection, EMBEDDER, stands)
            assert (later.whole, len(list(later.added)), len(later.removed)) == (False, 1, 2)
            assert later.stands_at > stands
            assert index_log.index_waiting(connection, EMBEDDER, stands) == 3
            assert index_log.index_waiting(connection, EMBEDDER, later.stands_at) == 0
            every = index_log.index_changes(connection, EMBEDDER, index_log.START)
            assert (every.stands_at, len(list(every.added))) == (later.stands_at, 4)
            some = index_log.index_ids(connection, EMBEDDER)[1:3]
            assert [ident for ident, _ in index_log.index_vectors(connection, EMBEDDER, only=[*some, 10**9])] == some

    @pytest.mark.parametrize("wrong", ["later", "other", "model"])
    def test_a_position_of_another_log_gives_everything(self, library, wrong):
        with library.reading() as connection:
            number, mark = index_log.index_end(connection, EMBEDDER)
            position = {"later": (number + 1, mark), "other": (number, "1.5"), "model": (number, mark)}[wrong]
            model = "a" * 64 if wrong == "model" else EMBEDDER
            assert index_log.index_waiting(connection, model, position) is None
            changes = index_log.index_changes(connection, model, position)
            assert (changes.whole, len(list(changes.added))) == (True, 0 if wrong == "model" else 5)
            assert changes.stands_at == (index_log.START if wrong == "model" else (number, mark))


class TestAssets:
    def test_name_is_the_first_of_its_places_in_any_order(self, catalog):
        for names in (["b.mp4", "a.mp4"], ["d.mp4", "e.mp4"]):
            with catalog.transaction() as connection:
                for name in names:
                    assets.see_location(connection, collection="c", uri=f"x:{name}", name=name, size=1, version="1", sha256=sha(names[0]))
        with catalog.reading() as connection:
            assert [a.name for a in lookups.list_assets(connection)] == ["a.mp4", "d.mp4"]
            assert lookups.find_asset(connection, "b.mp4").name == "a.mp4"

    def test_replaced_file_and_gone_file(self, catalog):
        with catalog.transaction() as connection:
            for version in ("1", "2"):
                assets.see_location(connection, collection="c", uri="x:/f/a.mp4", name="a.mp4", size=1, version=version, sha256=sha(version))
            known = assets.locations(connection, ["x:/f/a.mp4", "x:/f/none"])
            assert [(place.sha256, place.version) for place in known.values()] == [(sha("2"), "2")]
            assert assets.miss_locations(connection, "x:/f/", []) == 1
            assert assets.miss_locations(connection, "x:/f/", []) == 0
            assets.see_unchanged(connection, ["x:/f/a.mp4"])
            assert assets.miss_locations(connection, "x:/f/", ["x:/f/a.mp4"]) == 0

    def test_failed_quarantined_released(self, catalog):
        with catalog.transaction() as connection:
            see(connection, "bad.mp4")
            see(connection, "slow.mp4")
            for _ in range(2):
                assets.quarantine(
                    connection, uri="file:///media/bad.mp4", name="bad.mp4", error="Unreadable", reason="no media", sha256=sha("bad.mp4")
                )
                assets.set_state(connection, sha("slow.mp4"), "failed", reason="store out of reach", retryable=True)
            bad, slow = lookups.list_assets(connection)
            assert (bad.state, bad.reason) == ("quarantined", "no media")
            assert (slow.state, slow.retryable, slow.attempts) == ("failed", True, 2)
            assert len(lookups.list_quarantine(connection)) == 1
            assert assets.release(connection, sha256=sha("bad.mp4")) == 1
            assert lookups.list_quarantine(connection) == []
            assert assets.release(connection) == 1

    def test_runs_and_stages(self, catalog):
        with runs.running(catalog, "ingest", {"path": "x"}) as run_id, catalog.transaction() as connection:
            see(connection, "a.mp4")
            runs.record_stage(connection, stage="probe", key="k1", outcome="made", seconds=0.5, sha256=sha("a.mp4"), run_id=run_id, size=10)
            runs.record_stage(connection, stage="look", key="k2", outcome="cached", seconds=0.1, sha256=sha("a.mp4"), run_id=run_id, span="0-6")
            runs.end_run(connection, run_id, "done", {"done": 1})
            assert [(s.stage, s.outcome, s.span) for s in lookups.list_stages(connection, run_id=run_id)] == [
                ("probe", "made", ""),
                ("look", "cached", "0-6"),
            ]
            assert connection.execute("SELECT state, summary FROM run").fetchall() == [("done", {"done": 1})]


class TestConnection:
    def test_out_of_reach_is_unavailable(self, tmp_path):
        catalog = Catalog(f"postgresql://rollcall@/postgres?host={tmp_path}")
        with pytest.raises(Unavailable, match="out of reach"):
            catalog.open()
        catalog.close()

    def test_what_is_no_address_of_a_database_is_said_without_repeating_it(self):
        for url in ("nonsense-secret", "host=/tmp secret", "postgresql://u:secret@[::1"):
            with pytest.raises(RequestError, match="database_url") as caught:
                Catalog(url).open()
            assert "secret" not in str(caught.value)

    def test_what_is_no_text_is_refused(self, catalog):
        for name in ("nul\0", "bytes\udcff"):
            with pytest.raises(RequestError, match="no text"), catalog.reading() as connection:
                lookups.find_asset(connection, name)
        with catalog.reading() as connection:
            assert lookups.list_assets(connection) == []

    def test_a_lost_connection_is_replaced(self, catalog, embedded_url):
        with catalog.transaction() as connection:
            see(connection, "a.mp4")
        with psycopg.connect(embedded_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 't\\_%'")
        with catalog.reading() as connection:
            assert len(lookups.list_assets(connection)) == 1


class TestVerdicts:
    """What failed or was set aside is left alone only as long as the same is asked for."""

    def place(self, catalog):
        with catalog.reading() as connection:
            return assets.locations(connection, ["file:///media/a.mp4"])["file:///media/a.mp4"]

    def fail(self, catalog, plan):
        with catalog.transaction() as connection:
            assets.set_state(connection, sha("a.mp4"), "failed", reason="away", retryable=True, plan_digest=plan)

    def test_a_quarantined_file_is_asked_anew_under_other_settings(self, catalog):
        with catalog.transaction() as connection:
            see(connection, "a.mp4")
            assets.quarantine(
                connection, uri="file:///media/a.mp4", name="a.mp4", error="Unreadable", reason="no media", sha256=sha("a.mp4"), plan_digest="one"
            )  # fmt: skip
        assert (self.place(catalog).verdict("one"), self.place(catalog).verdict("two")) == ("quarantined", None)
        with catalog.transaction() as connection:
            assert assets.release(connection, sha256=sha("a.mp4")) == 1
        assert self.place(catalog).verdict("one") is None

    def test_a_failed_one_is_tried_so_often_under_each(self, catalog):
        with catalog.transaction() as connection:
            see(connection, "a.mp4")
        verdicts = []
        for plan in ("one", "one", "one", "two", "two"):
            self.fail(catalog, plan)
            verdicts.append(self.place(catalog).verdict(plan))
        assert verdicts == [None, None, "failed", None, None]
        assert self.place(catalog).attempts == 2
