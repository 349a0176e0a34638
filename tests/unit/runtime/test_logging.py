"""One log: JSON for machines, text for people, no secrets' hiding places."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from adapters.runtime.logging import configure_logging
from adapters.runtime.settings import LogSettings


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leaves logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The events that were logged as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_of_structlog_and_logging_have_one_form() -> None:
    """One JSON object a line: time, level, logger, event, facts, and what the request bound."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.get_logger("ours").info("batch_committed", rows=3)
    logging.getLogger("theirs").warning("took %d s", 5)
    ours, theirs = lines(stream)
    assert ours["event"] == "batch_committed"
    assert ours["rows"] == 3
    assert theirs["event"] == "took 5 s"
    assert theirs["level"] == "warning"
    assert {ours["request_id"], theirs["request_id"]} == {"r-1"}
    assert ours["timestamp"].endswith("Z")
    assert ours["logger"] == "ours"


def test_a_traceback_holds_no_local_variables() -> None:
    """They hold keys and samples."""
    for form in ("json", "console"):
        stream = io.StringIO()
        configure_logging(LogSettings(format=form), stream)
        try:
            hidden = "hunter2"
            raise ValueError(len(hidden))
        except ValueError:
            structlog.get_logger("a").exception("failed")
            logging.getLogger("b").exception("failed")
        assert stream.getvalue().count("Traceback") == 2
        assert stream.getvalue().count("ValueError: 7") == 2
        assert "hidden =" not in stream.getvalue().replace('hidden = "hunter2"', "")


def test_the_level_holds_for_both() -> None:
    """Below it nothing is written; libraries' everyday steps are left out at any level."""
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning"), stream)
    structlog.get_logger("ours").info("quiet")
    logging.getLogger("theirs").info("quiet")
    structlog.get_logger("ours").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]
    configure_logging(LogSettings(level="debug"), stream)
    logging.getLogger("alembic.runtime").info("quiet")
    assert len(lines(stream)) == 1


def test_a_terminal_gets_text() -> None:
    """`auto` looks at where it writes to; `console` does not."""
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), stream)
    structlog.get_logger("ours").info("batch_committed", rows=3)
    assert "batch_committed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_warnings_are_logged() -> None:
    """A library's warning is an event like any other."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "UserWarning: old" in lines(stream)[0]["event"]
