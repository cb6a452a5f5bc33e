"""Recordings in an S3-compatible object store; needs the extra "s3".

``s3://bucket/prefix?endpoint=https://s3.example&region=cn-north`` names it; keys come from the environment
(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from the settings. Objects are

- ``<prefix>/<ab>/<sha256>``: complete recordings,
- ``<prefix>/partial/<origin>/<sha256>/<offset>``: parts of begun ones; a part that exists is never replaced
  (``If-None-Match: *``), so of two requests for the same offset one is taken.

A complete recording appears at once, after its hash was found right, or not at all. What a worker that dies while it
writes leaves as an unfinished multipart upload is removed by a lifecycle rule of the bucket
(AbortIncompleteMultipartUpload).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256 as new_sha256
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from sync.county.blobs import READ_BYTES, BlobMissing, PartTaken, StoreAway
from sync.settings_file import SettingsRefused

if TYPE_CHECKING:
    from obstore.store import S3Config

_OPTIONS = ("endpoint", "region", "virtual_hosted_style_request", "conditional_put")
_ATTEMPTS = 3
_PATIENCE = timedelta(seconds=10)
"""The vehicle comes again by itself; its request must not hang meanwhile."""


class ObjectStore:
    """:raises SettingsRefused: ``url`` is not of the form above"""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        unknown = sorted(options.keys() - set(_OPTIONS))
        if parts.scheme != "s3" or not parts.netloc or unknown or "@" in parts.netloc:
            raise SettingsRefused(
                f"recordings = {url.partition('?')[0]!r}: write s3://bucket/prefix?endpoint=https://...&region=...; "
                f"known options: {', '.join(_OPTIONS)}; keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._store = S3Store(
            self._bucket,
            prefix=self._prefix or None,
            config=cast("S3Config", {"region": "us-east-1", **options}),
            client_options={
                "connect_timeout": timedelta(seconds=3),
                "timeout": timedelta(seconds=60),
                "allow_http": options.get("endpoint", "").startswith("http://"),
            },
            retry_config={"max_retries": _ATTEMPTS - 1, "retry_timeout": _PATIENCE},
        )

    def size(self, sha256: str) -> int | None:
        with self._reached():
            try:
                return obstore.head(self._store, _complete(sha256))["size"]
            except FileNotFoundError:
                self._bucket_must_exist()
                return None

    def read(self, sha256: str) -> Iterator[bytes]:
        with self._reached():
            try:
                yield from self._pieces(_complete(sha256))
            except FileNotFoundError:
                self._bucket_must_exist()
                raise BlobMissing(sha256) from None

    def begun(self, origin: str, sha256: str) -> int | None:
        with self._reached():
            parts = self._parts(origin, sha256)
            return parts[-1][0] + parts[-1][1] if parts else None

    def add(self, origin: str, sha256: str, offset: int, body: bytes) -> None:
        with self._reached():
            try:
                obstore.put(self._store, _part(origin, sha256, offset), body, mode="create", use_multipart=False)
            except AlreadyExistsError:
                raise PartTaken from None

    def finish(self, origin: str, sha256: str) -> int | None:
        with self._reached():
            parts = self._parts(origin, sha256)
            try:
                hashed = new_sha256()
                for piece in self._pieces_of(origin, sha256, parts):
                    hashed.update(piece)
                if hashed.hexdigest() == sha256:
                    self._write(_complete(sha256), self._pieces_of(origin, sha256, parts))
                elif self.size(sha256) is None:
                    self._drop(origin, sha256, parts)
                    return None
            except FileNotFoundError:  # another worker has finished it meanwhile and removed the parts
                done = self.size(sha256)
                if done is None:
                    raise
                return done
            self._drop(origin, sha256, parts)
            return self.size(sha256)

    def remove(self, sha256: str) -> None:
        with self._reached(), suppress(FileNotFoundError):
            obstore.delete(self._store, _complete(sha256))

    def _write(self, path: str, pieces: Iterator[bytes]) -> None:
        """The object appears when all is written; what breaks before leaves none."""
        file = obstore.open_writer(self._store, path)
        for piece in pieces:
            file.write(piece)
        file.close()

    def _pieces_of(self, origin: str, sha256: str, parts: list[tuple[int, int]]) -> Iterator[bytes]:
        for offset, _ in parts:
            yield from self._pieces(_part(origin, sha256, offset))

    def _pieces(self, path: str) -> Iterator[bytes]:
        for piece in obstore.get(self._store, path).stream(min_chunk_size=READ_BYTES):
            yield bytes(piece)

    def _parts(self, origin: str, sha256: str) -> list[tuple[int, int]]:
        """(offset, length) of the parts that follow each other from the start."""
        folder = f"partial/{origin}/{sha256}"
        found = sorted(
            (int(entry["path"].rpartition("/")[2]), entry["size"])
            for batch in obstore.list(self._store, folder)
            for entry in batch
        )
        parts: list[tuple[int, int]] = []
        for offset, length in found:
            if offset != (parts[-1][0] + parts[-1][1] if parts else 0):
                break
            parts.append((offset, length))
        return parts

    def _drop(self, origin: str, sha256: str, parts: list[tuple[int, int]]) -> None:
        """Last part first, so that what is left in between is no whole upload."""
        for offset, _ in reversed(parts):
            obstore.delete(self._store, _part(origin, sha256, offset))

    def _bucket_must_exist(self) -> None:
        """An absent object and an absent bucket look the same: only the first means "send it"."""
        next(iter(obstore.list(self._store, "partial", chunk_size=1)), None)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as fault:
            raise StoreAway(f"the object store {self._bucket} cannot be used: {_first_words(fault)}") from fault


def _complete(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _part(origin: str, sha256: str, offset: int) -> str:
    return f"partial/{origin}/{sha256}/{offset:016d}"


def _first_words(fault: Exception) -> str:
    return str(fault).strip().partition("\n")[0][:160]
