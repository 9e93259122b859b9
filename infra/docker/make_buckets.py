"""Make the buckets that the settings name, where they are missing: of `objects_url` and of the watched places."""

from __future__ import annotations

import sys

from minio import Minio

from infra.settings import load_settings


def main() -> None:
    """Make them, and say which."""
    settings = load_settings()
    places = [place.root for place in settings.watch.places] + ([settings.objects_url] if settings.objects_url else [])
    names = sorted({url.removeprefix("s3://").partition("/")[0] for url in places if url.startswith("s3://")})
    s3 = settings.s3
    if not names or s3.endpoint is None:
        sys.exit("no bucket is named: set ROLLCALL_OBJECTS_URL, ROLLCALL_WATCH__PLACES and ROLLCALL_S3__ENDPOINT")
    secret = s3.secret_key.get_secret_value() if s3.secret_key is not None else None
    client = Minio(endpoint=s3.endpoint, access_key=s3.access_key, secret_key=secret, secure=s3.secure, region=s3.region)
    for name in names:
        if client.bucket_exists(bucket_name=name):
            sys.stdout.write(f"{name} is there\n")
        else:
            client.make_bucket(bucket_name=name)
            sys.stdout.write(f"{name} was made\n")


if __name__ == "__main__":
    main()
