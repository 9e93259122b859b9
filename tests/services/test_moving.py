"""A library moves by backup and restore: from a laptop's PostgreSQL to a server's older one, from server to server, and back."""

import psycopg
import pytest

from infra.artifacts import ArtifactStore
from infra.backup import back_up, restore
from infra.catalog.connection import Catalog
from infra.catalog.snapshot import snapshot
from infra.objects import FolderStore
from infra.postgres import embedded_database
from infra.s3 import S3Service
from infra.settings import ensure_home
from tests.contract.library import add, sha
from tests.services.rgw import s3_settings

pytestmark = pytest.mark.servers


def rows(catalog):
    with catalog.reading() as connection:
        return snapshot(connection)


def test_from_a_laptop_to_a_server_and_back(postgres_server, tmp_path):
    store = FolderStore(tmp_path / "objects")
    with embedded_database(ensure_home(tmp_path / "home")) as embedded:
        laptop = Catalog(embedded)
        server, other = (Catalog(postgres_server.database(name)) for name in ("moving", "moved"))
        add(laptop, "a.mp4")
        add(laptop, "b.mp4", faces=(2, 3))
        with psycopg.connect(embedded) as new, psycopg.connect(postgres_server.url("moving")) as old:
            assert new.info.server_version >= old.info.server_version
        before = rows(laptop)
        back_up(laptop, store, tmp_path / "from-laptop")
        restore(server, store, tmp_path / "from-laptop")
        assert rows(server) == before
        add(server, "c.mp4", faces=(1,))
        back_up(server, store, tmp_path / "from-server")
        restore(other, store, tmp_path / "from-server")
        restore(laptop, store, tmp_path / "from-server", replace=True)
        assert rows(other) == rows(laptop) == rows(server) != before
        for catalog in (laptop, server, other):
            catalog.close()


def test_from_a_bucket_to_a_folder_and_into_another_bucket(postgres_server, s3_server, bucket, tmp_path):
    here, there = (S3Service(s3_settings(s3_server)).at(f"s3://{bucket}/{name}") for name in ("here", "there"))
    catalog, other = (Catalog(postgres_server.database(name)) for name in ("from_bucket", "to_bucket"))
    add(catalog, "a.mp4")
    ArtifactStore(here).save(sha("analysis of a.mp4"), {"analysis": 1})
    done = back_up(catalog, here, tmp_path / "backup")
    assert (done.copied, done.missing) == (1, 0)
    assert back_up(catalog, here, tmp_path / "backup").copied == 0
    assert restore(other, there, tmp_path / "backup").copied == 1
    assert ArtifactStore(there).load(sha("analysis of a.mp4"), dict) == {"analysis": 1}
    assert rows(other) == rows(catalog)
    catalog.close()
    other.close()
