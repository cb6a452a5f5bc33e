"""What the tests of the keys share."""

from __future__ import annotations

import pytest
from county_month import Founded

from sync.county.enrolment import Enrolments


@pytest.fixture
def enrolments(founded: Founded) -> Enrolments:
    return founded.county.enrolments
