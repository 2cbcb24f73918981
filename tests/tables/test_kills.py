"""Training in a real process that is killed, and goes on."""

from __future__ import annotations

import os

import pytest

from benchmarks.kills import kills


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes by signals")
def test_nothing_is_lost_to_kills():
    rows = kills(4)
    assert [row["faults"] for row in rows] == [0, 0, 0]
    assert rows[0]["count"] + rows[1]["count"] == 4
