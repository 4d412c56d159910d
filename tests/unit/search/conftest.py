from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _quick_databases(migrations_read_once):
    """For every test of this room."""
