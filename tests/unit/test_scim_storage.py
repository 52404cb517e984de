"""The SCIM provider's storage, held to the rules that the library has for those."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from scim2_models import ScimProvider
from scim2_server.storage import AsyncScimStorage
from scim2_server.testing import AsyncScimStorageContract

from services.scim.schema import PROVIDER
from services.scim.storage import Storage
from tests.scim import DECLARATION, MemoryKafka


class TestStorage(AsyncScimStorageContract):
    @pytest.fixture
    def provider(self) -> Any:
        with PROVIDER:
            yield PROVIDER

    @pytest.fixture
    def async_storage(self, provider: ScimProvider) -> AsyncScimStorage:
        kafka, seconds = MemoryKafka(), count(1_772_442_000)
        return Storage(
            kafka.view,
            kafka.claims,
            kafka,
            kafka,
            DECLARATION,
            seconds=5,
            largest=100_000,
            now=lambda: datetime.fromtimestamp(next(seconds), UTC),
        )
