"""The county's tables: what vehicles delivered, word for word; what was read out of it; and the county's own books.

Projection tables are those of ``sync.record.tables`` with a column ``origin`` before the key; they may be dropped
and made again from ``entries`` at any time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from sync.formats.records import format_time, parse_time
from sync.record import tables

metadata = MetaData()
MADE_FROM_ENTRIES = "made_from_entries"
"""In ``Table.info``: dropped and made again by reading the stored entries (``migrations.py``)."""


class UtcTime(TypeDecorator[datetime]):
    """Aware UTC datetime as text with milliseconds, as entries write it; sorts and compares as text."""

    impl = String(24)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else format_time(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else parse_time(value)


meta = Table("meta", metadata, Column("key", String(20), primary_key=True), Column("value", String(100)))
"""What ``migrations.py`` has done."""

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(60), nullable=False),
    Column("role", String(20), nullable=False),
    Column("password_hash", String(200), nullable=False),
    Column("stamp", String(40), nullable=False),
    Column("public_key", String(200)),
    Column("failures", Integer, nullable=False),
    Column("locked_until", UtcTime),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

vehicles = Table(
    "vehicles",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("vkey", String(300), nullable=False),
    Column("vehicle", String(100), nullable=False),
    Column("plate", String(40), nullable=False),
    Column("enrolled_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("origin", String(100), nullable=False),
    Column("vkey", String(300), nullable=False),
    Column("vehicle", String(100), nullable=False),
    Column("plate", String(40), nullable=False),
    Column("succeeds", String(100)),
    Column("salt", LargeBinary(16), nullable=False),
    Column("code_hash", LargeBinary(32), nullable=False),
    Column("signed_at", UtcTime, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("address", String(64), nullable=False),
)
"""Vehicles that ask to be enrolled (``enrolment.py``); ``id`` is the SHA-256 of the key as text."""

registry = Table(
    "registry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(20), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("by", String(40), nullable=False),
    Column("body", Text, nullable=False),
)

village_uploads = Table(
    "village_uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("by", String(40), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Lists of villages that somebody looks at before he imports them (``village_uploads.py``)."""

village_contacts = Table(
    "village_contacts",
    metadata,
    Column("code", String(12), primary_key=True),
    Column("name", String(60), nullable=False),
    Column("phone", String(40), nullable=False),
    Column("by", String(40), nullable=False),
    Column("at", UtcTime, nullable=False),
)
"""Whom to call in a village (``village_contacts.py``)."""

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("account", String(100), nullable=False),
    Column("action", String(40), nullable=False),
    Column("what", String(300), nullable=False),
    Column("outcome", String(20), nullable=False),
)

# the mirror ----------------------------------------------------------------------------------------------------------

logs = Table(
    "logs",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("pending_size", BigInteger, nullable=False),
    Column("next_entry", BigInteger, nullable=False),
    Column("mirror_size", BigInteger, nullable=False),
    Column("last_seen_at", UtcTime),
    Column("cosigned_at", UtcTime),
    Column("interpreted", BigInteger, nullable=False, default=0),
    Column("last_entry_at", String(24)),
    Column("practice", Boolean, nullable=False, default=False),
    Column("frozen_at", UtcTime),
    Column("frozen_reason", String(300)),
)
"""``pending_size``: of the newest accepted checkpoint; ``next_entry``: entries stored; ``mirror_size``: cosigned;
``interpreted``: entries read into tables. ``frozen_at``: nothing more is taken until a person lifts it
(``freezing.py``)."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("accepted_at", UtcTime, nullable=False),
    Column("cosigned_at", UtcTime),
    Column("witnessed_at", UtcTime),
)
"""Every accepted checkpoint; ``note`` carries the county's cosignature once ``cosigned_at`` is set. Never updated to
another root: a log that is not an extension is refused. ``witnessed_at``: the province's cosignature is in the note."""

witness_logs = Table(
    "witness_logs",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("size", BigInteger, nullable=False, default=0),
    Column("introduced", BigInteger),
    Column("witnessed_at", UtcTime),
    Column("claimed_until", UtcTime),
    Column("next_at", UtcTime),
    Column("refused_at", UtcTime),
    Column("reason", String(300)),
)
"""What the province's witness has cosigned of each log, and why it does not go on (``witnessing.py``). ``introduced``:
place of the vehicle's entry in the registry that it has seen."""

refused_checkpoints = Table(
    "refused_checkpoints",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("origin", String(100), nullable=False, index=True),
    Column("at", UtcTime, nullable=False),
    Column("reason", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("note", LargeBinary, nullable=False),
    Column("ours", LargeBinary),
    Column("proof", Text),
    Column("shows", String(20)),
)
"""Signed by the vehicle and not an extension of what it signed before: evidence. ``ours``: the checkpoint that the
county has, signed by the vehicle too; ``proof``: base64 lines; ``shows``: what they prove (``freezing.py``)."""

entries = Table(
    "entries",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("leaf", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

subtrees = Table(
    "subtrees",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
)
"""Hashes of complete subtrees above the leaves."""

uploads = Table(
    "uploads",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("origin", String(100), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("stored_at", UtcTime, nullable=False),
    Column("unwanted_at", UtcTime),
)
"""Complete recordings. ``unwanted_at``: an entry that named it was removed after retention (``retention.py``)."""

# what was read out of the entries ------------------------------------------------------------------------------------

entry_facts = Table(
    "entry_facts",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("at", String(24), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("visit", String(60)),
    Index("entry_facts_by_visit", "origin", "visit"),
    Index("entry_facts_by_kind", "origin", "kind", "n"),
    info={MADE_FROM_ENTRIES: True},
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("reason", String(300), nullable=False),
    Column("at", UtcTime, nullable=False),
    info={MADE_FROM_ENTRIES: True},
)

visit_facts = Table(
    "visit_facts",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("visit", String(100), primary_key=True),
    Column("day", String(10), nullable=False, index=True),
    Column("areas", String(64), nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("known_at", UtcTime),
    Column("sealed_at", UtcTime),
    Column("evidence", Text, nullable=False),
    info={MADE_FROM_ENTRIES: True},
)
"""What the entries say about a visit (``visit_facts.py``). ``areas``: which villages it was worked out with; ``as_of``:
entries of the log that had been read then. Once it is closed later entries do not change it."""

visit_work = Table(
    "visit_work",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("visit", String(100), primary_key=True),
    Column("what", String(40), primary_key=True),
    Column("people", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    info={MADE_FROM_ENTRIES: True},
)
"""How many people a visit served, and of each disease how many were screened and found (``visit_work.py``)."""

same_people = Table(
    "same_people",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("patient", String(100), primary_key=True),
    Column("first_origin", String(100), nullable=False),
    Column("first_patient", String(100), nullable=False),
    Index("same_people_by_first", "first_origin", "first_patient"),
    info={MADE_FROM_ENTRIES: True},
)
"""Registrations of people who have several, with the oldest of them (``registrations.py``)."""

attendances = Table(
    "attendances",
    metadata,
    Column("origin", String(100), primary_key=True),
    Column("visit", String(100), primary_key=True),
    Column("patient", String(100), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("person", String(210), nullable=False),
    Column("month", String(7), nullable=False),
    Column("served_at", String(24)),
    Column("screened", Integer, nullable=False),
    Column("found", Integer, nullable=False),
    Column("new_screened", Integer, nullable=False),
    Column("new_found", Integer, nullable=False),
    Index("attendances_of_person", "person", "day", "served_at", "origin", "visit"),
    Index(
        "attendances_found",
        "origin",
        "patient",
        "found",
        "day",
        sqlite_where=text("found > 0"),
        postgresql_where=text("found > 0"),
    ),
    Index("attendances_of_month", "month", "new_screened", "new_found", "origin", "visit"),
    info={MADE_FROM_ENTRIES: True},
)
"""What was done for somebody on a day of a visit, empty where it belongs to none (``attendances.py``). ``person``: the
oldest registration, of whichever van; ``screened``, ``found``: diseases as bits; ``new_*``: those of them that no
earlier row of this person and month has."""


def _projected(name: str, shape: tables.Table) -> Table:
    types = {"text": Text, "integer": BigInteger}
    columns = [Column("origin", String(100), primary_key=True)]
    columns += [
        Column(column, String(100) if column in shape.key and kind == "text" else types[kind](), primary_key=True)
        if column in shape.key
        else Column(column, types[kind]())
        for column, kind in shape.columns.items()
    ]
    indexes = [Index(f"{name}_by_{column}", "origin", column) for column in (*shape.index, *shape.county_index)]
    return Table(name, metadata, *columns, *indexes, info={MADE_FROM_ENTRIES: True})


projected: dict[str, Table] = {name: _projected(name, shape) for name, shape in tables.TABLES.items()}

Index("patients_by_hash", projected["patients"].c.id_hash)
Index("patients_by_number", projected["patients"].c.id_last4, projected["patients"].c.born_on)
Index("access_log_by_action", projected["access_log"].c.origin, projected["access_log"].c.action)
