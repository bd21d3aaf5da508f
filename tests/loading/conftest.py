"""What the tests of loading share."""

import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def logged() -> list[str]:
    """The warnings that reach MMEngine's logger."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep(level=logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
