"""A project of its own for every test that asks."""

import uuid

import pytest

from tests.dbt.project import Project


@pytest.fixture
def project(warehouse_home) -> Project:
    return Project(warehouse_home, f"dbt_{uuid.uuid4().hex[:12]}")
