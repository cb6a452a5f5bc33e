"""A real S3 server of the tests' own (moto), that can go away, come back and refuse keys."""

from __future__ import annotations

import logging
import os
from itertools import count

import httpx
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "county", "AWS_SECRET_ACCESS_KEY": "of-the-tests"}


class ObjectStoreServer:
    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self._numbers = count(1)
        os.environ |= KEYS

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, bucket: str) -> str:
        return f"s3://{bucket}/county?endpoint={self.endpoint}"

    def fresh_bucket(self) -> str:
        """The URL of a new bucket with a prefix."""
        bucket = f"records-{next(self._numbers)}"
        assert httpx.put(f"{self.endpoint}/{bucket}", trust_env=False).status_code == 200
        return self.url(bucket)

    def remove_bucket(self, url: str) -> None:
        bucket = url.removeprefix("s3://").partition("/")[0]
        assert httpx.delete(f"{self.endpoint}/{bucket}", trust_env=False).status_code == 204

    def check_keys(self, check: bool) -> None:
        """Whether keys that nobody made are refused from now on."""
        first_unchecked = "0" if check else "inf"
        answer = httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=first_unchecked, trust_env=False)
        assert answer.status_code == 200, answer.text

    def go_away(self) -> None:
        self._server.stop()

    def come_back(self) -> None:
        """What was stored is still there."""
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()
