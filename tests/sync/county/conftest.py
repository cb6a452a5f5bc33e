"""What the tests of the county share."""

from __future__ import annotations

import pytest
from county_month import Founded, Van
from signed_posts import Post


@pytest.fixture
def post(founded: Founded, van: Van) -> Post:
    return Post(founded, van.signer)
