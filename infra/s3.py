"""Objects in a bucket of any S3 service, through the `minio` client.

The contract is that of every object store (infra.objects). What S3 adds: an object has an etag, which is its version here, in listings and
alone alike, and a read can insist on it; links can be handed out that open one object for a while. Nothing of the client's own is used:
no listening, no admin calls.

A service that does not answer is `Unavailable` within half a minute, one that refuses is a RequestError of one line. Neither says a key.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from asd_core.errors import NotFound, RequestError, RollcallError, Unavailable
from infra.objects import SCHEME, ObjectInfo, S3Url, Stream, check_key

if TYPE_CHECKING:
    from infra.settings import S3Settings

PART = 16 << 20  # bytes; what is longer is uploaded in several parts and appears when the last one is there
CONNECT_SECONDS = 3.0
READ_SECONDS = 12.0  # between two bytes of an answer
TRIES_AGAIN = urllib3.Retry(total=2, read=1, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
CONNECTIONS = 32
MISSING = {"NoSuchKey", "ResourceNotFound", "NoSuchVersion"}
REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AllAccessDisabled", "AccountProblem"}
ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed"}


class S3Service:
    """A service with the user's credentials: opens its buckets. Safe for several threads."""

    def __init__(self, settings: S3Settings) -> None:
        if settings.endpoint is None:
            raise RequestError("no S3 service is known: set ROLLCALL_S3__ENDPOINT (host:port), ROLLCALL_S3__ACCESS_KEY and ROLLCALL_S3__SECRET_KEY")
        self.endpoint = settings.endpoint
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        try:
            self._client = Minio(
                endpoint=settings.endpoint,
                access_key=settings.access_key,
                secret_key=settings.secret_key.get_secret_value() if settings.secret_key is not None else None,
                region=settings.region,
                secure=settings.secure,
                http_client=urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout, retries=TRIES_AGAIN),
            )
        except ValueError as error:
            raise RequestError(f"s3.endpoint is {settings.endpoint!r}, which is no host:port") from error

    def store(self, bucket: str, prefix: str = "") -> S3Store:
        """Return the objects of a bucket whose keys begin with a prefix; the bucket is not asked for yet."""
        try:
            return S3Store(self._client, self.endpoint, bucket, prefix)
        except ValueError as error:
            raise RequestError(f"not a bucket: {bucket!r}") from error

    def at(self, url: str) -> S3Store:
        """Return the objects below `s3://bucket/prefix`."""
        parts = S3Url.parse(url)
        return self.store(parts.bucket, parts.folder)

    def __repr__(self) -> str:
        return f"S3Service({self.endpoint})"


class S3Store:
    """Objects of a bucket below a prefix, which is part of no key here."""

    def __init__(self, client: Minio, endpoint: str, bucket: str, prefix: str = "") -> None:
        self._client, self._endpoint, self.bucket, self.prefix = client, endpoint, bucket, prefix

    def __repr__(self) -> str:
        return f"S3Store({SCHEME}{self.bucket}/{self.prefix})"

    def check(self) -> None:
        """Raise RequestError or Unavailable where the bucket is missing, refuses or does not answer."""
        with self._told("bucket"):
            next(self._client.list_objects(bucket_name=self.bucket, prefix=f"{self.prefix}.part-"), None)

    def put(self, key: str, data: bytes) -> None:
        """Store bytes under a key; readers see them when all have arrived."""
        self._put(key, io.BytesIO(data), len(data))

    def put_file(self, key: str, path: Path) -> None:
        """Store a file's bytes as `put` does; a few parts of it are in memory at a time, however long it is."""
        with path.open("rb") as stream:
            self._put(key, stream, os.fstat(stream.fileno()).st_size)

    def _put(self, key: str, stream: BinaryIO, size: int) -> None:
        name = self._name(key)
        with self._told(key):
            self._client.put_object(bucket_name=self.bucket, object_name=name, data=stream, length=size, part_size=PART)

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where there are none."""
        try:
            with self.open(key) as stream:
                return stream.read()
        except _NoObject:
            return None

    def open(self, key: str, *, start: int = 0, length: int | None = None, version: str | None = None) -> Stream:
        """Return a stream of the bytes [start, start + length), to the end without a length.

        Raises:
            NotFound: there is no such object.
            Replaced: it is no longer the `version` that is wanted.
        """
        name = self._name(key)
        if length == 0:
            return io.BytesIO()
        with self._told(key):
            try:
                response = self._client.get_object(
                    bucket_name=self.bucket, object_name=name, offset=start, length=length or 0,
                    request_headers={"If-Match": f'"{version}"'} if version is not None else None,
                )  # fmt: skip
            except S3Error as error:
                if error.code == "InvalidRange":  # it begins behind the end
                    return io.BytesIO()
                raise
        return _Body(response, lambda: self._told(key))

    def stat(self, key: str) -> ObjectInfo | None:
        """Return size and etag, None where there is nothing."""
        name = self._name(key)
        try:
            with self._told(key):
                found = self._client.stat_object(bucket_name=self.bucket, object_name=name)
        except _NoObject:
            return None
        return ObjectInfo(key, found.size or 0, _etag(found.etag))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield what begins with `prefix`, sorted by key, as the pages of the listing come; names that are no keys of a store are among them."""
        with self._told("bucket"):
            for found in self._client.list_objects(bucket_name=self.bucket, prefix=self.prefix + prefix, recursive=True):
                yield ObjectInfo((found.object_name or "").removeprefix(self.prefix), found.size or 0, _etag(found.etag))

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        name = self._name(key)
        with contextlib.suppress(_NoObject), self._told(key):
            self._client.remove_object(bucket_name=self.bucket, object_name=name)

    def presigned(self, key: str, seconds: float) -> str:
        """Return a link with which anybody can read an object, ranges of it too, for so many seconds; whether it is there is not asked."""
        name = self._name(key)
        with self._told(key):
            return self._client.presigned_get_object(bucket_name=self.bucket, object_name=name, expires=timedelta(seconds=seconds))

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    @contextlib.contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Turn what the client raises into our errors."""
        try:
            yield
        except S3Error as error:
            raise self._ours(error, key) from error
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"the S3 service at {self._endpoint} does not answer as it should ({type(error).__name__})") from error
        except ValueError as error:  # the client's own checks of names
            raise RequestError(f"not an object of S3: {key!r} in {self.bucket!r}: {error}") from error

    def _ours(self, error: S3Error, key: str) -> RollcallError:
        if error.code in MISSING:
            return _NoObject(f"no object {key} in the bucket {self.bucket}")
        if error.code == "NoSuchBucket":
            return RequestError(f"there is no bucket {self.bucket} at {self._endpoint}")
        if error.code in REFUSED:
            return RequestError(f"the S3 service at {self._endpoint} refuses {self.bucket} ({error.code}): see s3.access_key and s3.secret_key")
        if error.code in ELSEWHERE:
            return RequestError(f"the S3 service at {self._endpoint} keeps {self.bucket} in another region ({error.code}): see s3.region")
        if error.code == "PreconditionFailed":
            return Replaced(f"{key} was replaced in the bucket {self.bucket}; it is tried again in the next run")
        if error.code == "RequestTimeTooSkewed":
            return Unavailable(f"the clocks of this machine and of the S3 service at {self._endpoint} differ")
        return Unavailable(f"the S3 service at {self._endpoint} failed: {error.code}")


class Replaced(Unavailable):
    """The object is no longer the version that is wanted. Asked again it says the same; the next run takes the new one."""

    retryable = False


class _NoObject(NotFound):
    """The bucket may be there, the object is not."""


class _Body:
    """The body of an answer; one that breaks off is Unavailable. Closing it gives the connection back."""

    def __init__(self, response: urllib3.BaseHTTPResponse, told: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._response, self._told = response, told

    def read(self, size: int = -1, /) -> bytes:
        with self._told():
            # As it is stored: what an uploader called compressed is not unpacked, or size and hash would be another's.
            return self._response.read(None if size < 0 else size, decode_content=False)

    def close(self) -> None:
        self._response.close()
        self._response.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()


def _etag(etag: str | None) -> str:
    return (etag or "").strip('"')
