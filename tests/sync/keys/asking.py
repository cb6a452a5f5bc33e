"""Requests of new vans to be enrolled, signed as a van signs them."""

from __future__ import annotations

from datetime import datetime

import httpx
from county_month import Founded

from sync.formats.notes import SeedSigner
from sync.formats.request_signature import signature_headers
from sync.keys.key_statements import SALT_BYTES, EnrolmentAsk, code_hash

ORIGIN = "van-07.qingyu.example"
VAN = SeedSigner(ORIGIN, b"v" * 32)
OTHER = SeedSigner("van-09.qingyu.example", b"9" * 32)
CODE = "02319962"


def ask_of(
    signer: SeedSigner = VAN, code: str = CODE, valid_s: int = 1800, salt: bytes = b"s" * SALT_BYTES, **more: str
) -> EnrolmentAsk:
    key = signer.verifier_key()
    vehicle = signer.name.partition(".")[0]
    return EnrolmentAsk(key, vehicle, "川A·演07", salt, code_hash(code, salt, key), valid_s, **more)


def signed(
    founded: Founded, ask: EnrolmentAsk, signer: SeedSigner = VAN, when: datetime | None = None
) -> dict[str, str]:
    return signature_headers(signer, "POST", "/enrol", bytes(ask), when or founded.clock.now())


async def post(founded: Founded, ask: EnrolmentAsk, headers: dict[str, str] | None = None) -> httpx.Response:
    by = VAN if ask.key == VAN.verifier_key() else OTHER
    async with founded.client() as client:
        return await client.post("/enrol", content=bytes(ask), headers=headers or signed(founded, ask, by))
