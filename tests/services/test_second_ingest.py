"""A second ingest of an unchanged library of 200 assets, services warm: location, size and version remember the hash."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from infra.settings import child_environment, load_settings
from infra.wiring import open_catalog
from tests.material import OUR_MODELS

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]
ASSETS = 200
LIMIT_SECONDS = 10.0


def _ingest(environment, place):
    """Return the seconds of one command, and what it said of the assets."""
    command = [str(Path(sys.executable).with_name("rollcall")), "ingest", str(place), "--direct"]
    began = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began, done.stdout


def second_ingests(server, bucket, folder):
    """Return the seconds of a first and a second ingest of unchanged assets in a folder and in a bucket, artifacts where the media are.

    Those of the command from its start to its end; the database is up.
    """
    client, media = server.client(), folder / "media"
    media.mkdir()
    rng = np.random.default_rng(7)
    for number in range(ASSETS):
        path = media / f"{number:03d}.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 2, 16000, 0, "NONE", ""))
            out.writeframes((rng.standard_normal(8000) * 500).astype("<i2").tobytes())
        os.utime(path, (1e9, 1e9))
        client.fput_object(bucket_name=bucket, object_name=f"tv/{path.name}", file_path=str(path))
    models = {f"ROLLCALL_MODELS__{role.upper()}": name for role, name in OUR_MODELS.items()}
    taken = {}
    for kind, place, more in (("folder", media, {}), ("bucket", f"s3://{bucket}/tv", server.environment(bucket))):
        home = folder / f"home-{kind}"
        environment = {**child_environment(), "ROLLCALL_HOME": str(home), **models, **more}
        with open_catalog(load_settings(home=home)):
            first, said = _ingest(environment, place)
            assert f"{ASSETS} done" in said
            seconds, said = _ingest(environment, place)
            assert f"{ASSETS} skipped" in said
        taken[kind] = (first, seconds)
    return taken


def test_two_hundred_unchanged_assets_take_less_than_ten_seconds(s3_server, bucket, tmp_path):
    taken = second_ingests(s3_server, bucket, tmp_path)
    assert max(seconds for _, seconds in taken.values()) < LIMIT_SECONDS, taken
