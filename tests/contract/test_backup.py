"""Backup and restore: the same rows and artifacts, incremental, whole or not there, on the embedded PostgreSQL and on a given one."""

import json
import uuid

import psycopg
import pytest

from asd_core.errors import RequestError, Unavailable
from infra import backup
from infra.artifacts import ArtifactStore
from infra.backup import BackupDamaged, back_up, restore
from infra.catalog import assets, dump, runs
from infra.catalog.connection import Catalog, migrations
from infra.catalog.dump import DumpFailed
from infra.catalog.publish import withdraw
from infra.catalog.snapshot import snapshot
from infra.objects import FolderStore
from infra.settings import load_settings
from infra.wiring import open_adapters
from tests.contract.library import add, identify, sha
from tests.unit.rollcall.test_door import rollcall

pytestmark = pytest.mark.service


class Library:
    """A catalog and a store, with made assets whose artifacts are there."""

    def __init__(self, catalog, root):
        self.catalog, self.objects = catalog, FolderStore(root)
        self.artifacts = ArtifactStore(self.objects)

    def add(self, name, faces=(1, 2)):
        add(self.catalog, name, faces)
        self.artifacts.save(sha("analysis of " + name), {"analysis": name})
        self.artifacts.save(sha("look of " + name), {"look": name})
        with self.catalog.transaction() as connection:
            runs.record_stage(connection, stage="look", key=sha("look of " + name), outcome="made", seconds=1.0, sha256=sha(name))

    def rows(self):
        """All rows of all tables, ids and clocks included."""
        with self.catalog.reading() as connection:
            tables = [
                row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
            ]
            every = {table: sorted(connection.execute(f"SELECT t::text FROM {table} t").fetchall()) for table in tables}
            return every, snapshot(connection)

    def stored(self):
        return {key: self.objects.get(f"artifacts/{key[:2]}/{key}") for key in list(self.artifacts.keys())}


@pytest.fixture
def library(catalog, tmp_path):
    library = Library(catalog, tmp_path / "objects")
    library.add("a.mp4")
    library.add("b.mp4", faces=(2, 3))
    with catalog.transaction() as connection:
        assets.quarantine(connection, uri="/media/bad.mp4", name="bad.mp4", error="Unreadable", reason="no media")
    return library


@pytest.fixture
def elsewhere(embedded_url, tmp_path):
    """An empty library: a database that was never migrated, and a folder that is not there."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(embedded_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    catalog = Catalog(embedded_url.replace("/postgres?", f"/{name}?"))
    yield Library(catalog, tmp_path / "other")
    catalog.close()
    with psycopg.connect(embedded_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def back(library, target):
    return back_up(library.catalog, library.objects, target)


def bring(library, source, **told):
    return restore(library.catalog, library.objects, source, **told)


def test_what_is_restored_is_what_was_row_for_row(library, elsewhere, tmp_path):
    done = back(library, tmp_path / "backup")
    assert (done.copied, done.kept, done.missing, done.manifest.assets, done.manifest.count) == (4, 0, 0, 2, 4)
    brought = bring(elsewhere, tmp_path / "backup")
    assert (brought.copied, brought.kept, brought.damaged) == (4, 0, 0)
    assert elsewhere.rows() == library.rows()
    assert elsewhere.stored() == library.stored()


def test_a_restored_library_goes_on(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    bring(elsewhere, tmp_path / "backup")
    for one in (library, elsewhere):
        one.add("c.mp4", faces=(1, 3))
    assert elsewhere.rows()[1] == library.rows()[1]
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"), elsewhere.catalog.transaction() as connection:
        connection.execute("INSERT INTO correction (id, kind, anchors, who) VALUES ('x', 'rename', '[]', 'me')")
        connection.execute("DELETE FROM correction")


def test_the_second_time_only_what_is_new_is_copied(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "backup" / "artifacts").rglob("*") if path.is_file()}
    library.add("c.mp4")
    done = back(library, tmp_path / "backup")
    assert (done.copied, done.kept) == (2, 4)
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / "backup").iterdir()) == [
        "artifacts", "artifacts", "backup.json", "backup.lock", "database",
    ]  # fmt: skip
    bring(elsewhere, tmp_path / "backup")
    assert elsewhere.rows() == library.rows()


def test_the_cache_may_be_lost_here_and_is_kept_there_but_what_the_library_forgot_goes(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    library.artifacts.delete(sha("look of a.mp4"))
    library.artifacts.delete(sha("analysis of b.mp4"))
    library.artifacts.delete(sha("look of b.mp4"))
    with library.catalog.transaction(serial=True) as connection:
        withdraw(connection, sha("b.mp4"))
        connection.execute("DELETE FROM asset WHERE sha256 = %s", (sha("b.mp4"),))
    done = back(library, tmp_path / "backup")
    assert (done.copied, done.kept, done.missing) == (0, 2, 0)
    bring(elsewhere, tmp_path / "backup")
    assert set(elsewhere.stored()) == {sha("look of a.mp4"), sha("analysis of a.mp4")}


def test_an_analysis_that_nobody_has_is_counted(library, tmp_path):
    library.artifacts.delete(sha("analysis of b.mp4"))
    assert back(library, tmp_path / "backup").missing == 1


def test_what_comes_after_the_snapshot_is_not_in_the_rows(library, elsewhere, tmp_path):
    before = library.rows()

    class Busy(FolderStore):
        def list(self, prefix=""):  # the dump has been written; somebody publishes before the artifacts are listed
            library.add("late.mp4")
            return super().list(prefix)

    done = back_up(library.catalog, Busy(library.objects.root), tmp_path / "backup")
    assert (done.manifest.assets, done.copied) == (2, 6)
    bring(elsewhere, tmp_path / "backup")
    assert elsewhere.rows() == before


def test_a_backup_that_breaks_off_leaves_the_one_before(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    before = library.rows()
    library.add("c.mp4")

    class Failing(FolderStore):
        def get(self, key):
            raise Unavailable("gone")

    with pytest.raises(Unavailable):
        back_up(library.catalog, Failing(library.objects.root), tmp_path / "backup")
    bring(elsewhere, tmp_path / "backup")
    assert elsewhere.rows() == before
    done = back(library, tmp_path / "backup")
    assert done.copied == 2
    assert len(list((tmp_path / "backup").glob("database-*"))) == 1


def test_a_library_that_is_there_is_not_overwritten_unless_told(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    elsewhere.add("own.mp4", faces=(7,))
    with pytest.raises(RequestError, match="--replace"):
        bring(elsewhere, tmp_path / "backup")
    bring(elsewhere, tmp_path / "backup", replace=True)
    assert elsewhere.rows() == library.rows()


def test_tables_of_others_are_left_alone(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    with elsewhere.catalog.transaction() as connection:
        connection.execute("CREATE TABLE theirs (x integer)")
    with pytest.raises(RequestError, match="theirs"):
        bring(elsewhere, tmp_path / "backup")


def test_what_a_restore_replaces_is_all_that_migrations_make(catalog):
    with catalog.reading() as connection:
        found = {row[0] for row in connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN "
                                                      "('r', 'p', 'v', 'm', 'f')")}  # fmt: skip
        found |= {row[0] for row in connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")}
    assert found == {name for _, name in dump._objects()}


def test_a_damaged_dump_is_refused_and_nothing_is_touched(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    elsewhere.add("own.mp4")
    before = elsewhere.rows()
    (path,) = (tmp_path / "backup").glob("database-*")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupDamaged, match="not what it was"):
        bring(elsewhere, tmp_path / "backup", replace=True)
    with pytest.raises(DumpFailed, match="as it was"):  # nor where the checksum is made to fit
        dump.replace_with(elsewhere.catalog, path)
    assert elsewhere.rows() == before


def test_a_damaged_artifact_is_left_out(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    key = sha("analysis of a.mp4")
    path = tmp_path / "backup" / "artifacts" / key[:2] / key
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert bring(elsewhere, tmp_path / "backup").damaged == 1
    assert key not in elsewhere.stored() and len(elsewhere.stored()) == 3


def test_a_backup_of_a_newer_version_is_refused(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    manifest = json.loads((tmp_path / "backup" / "backup.json").read_text())
    (tmp_path / "backup" / "backup.json").write_text(json.dumps(manifest | {"schema": migrations()[-1][0] + 1}))
    with pytest.raises(RequestError, match="newer version"):
        bring(elsewhere, tmp_path / "backup")


@pytest.mark.parametrize(("content", "error", "words"), [
    (None, RequestError, "no backup"), ("{", BackupDamaged, "cannot be read"), ('{"format": "other/1"}', RequestError, "another form"),
])  # fmt: skip
def test_what_is_no_backup_is_said_to_be_none(elsewhere, tmp_path, content, error, words):
    (tmp_path / "backup").mkdir()
    if content is not None:
        (tmp_path / "backup" / "backup.json").write_text(content)
    with pytest.raises(error, match=words):
        bring(elsewhere, tmp_path / "backup")


def test_a_folder_with_other_files_is_no_target(library, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(RequestError, match="other files"):
        back(library, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_two_backups_do_not_write_to_one_folder(library, tmp_path):
    with backup._alone(tmp_path / "backup"), pytest.raises(RequestError, match="another backup"):
        back(library, tmp_path / "backup")


def test_the_password_stands_in_no_command_line(embedded_url, library):
    url = embedded_url.replace("@/", ":a-secret@/")
    with psycopg.connect(url) as connection:
        environment = dump._environment(connection)
    assert environment["PGPASSWORD"] == "a-secret"
    assert environment["PGHOST"].startswith("/")


def test_persons_are_the_same_after_a_restore(library, elsewhere, tmp_path):
    back(library, tmp_path / "backup")
    bring(elsewhere, tmp_path / "backup")
    with elsewhere.catalog.transaction(serial=True) as connection:
        before = snapshot(connection)["person"]
        identify(connection)
        assert snapshot(connection)["person"] == before


def test_the_commands(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    with open_adapters(load_settings(home=home)) as adapters:
        library = Library(adapters.catalog, home / "objects")
        library.add("a.mp4")
        before, stored = library.rows()[1], library.stored()
    told = json.loads(rollcall("backup", tmp_path / "backup", "--json", home=home, check=0).stdout)
    assert (told["assets"], told["artifacts"], told["copied"]) == (1, 2, 2)
    assert "2 were there" in rollcall("backup", tmp_path / "backup", home=home, check=0).stdout
    assert "1 assets as of" in rollcall("restore", tmp_path / "backup", home=other, check=0).stdout
    with open_adapters(load_settings(home=other)) as adapters:
        library = Library(adapters.catalog, other / "objects")
        assert (library.rows()[1], library.stored()) == (before, stored)
    done = rollcall("restore", tmp_path / "backup", home=other, check=1)
    assert done.stderr.splitlines()[-1] == "rollcall: there is a library here already; --replace puts the backup in its place"
