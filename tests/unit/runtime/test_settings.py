"""Settings: what the environment says, checked, or a message that says how to mend it."""

import stat
from pathlib import Path

import pytest

from adapters.runtime.environment import settings_of
from adapters.runtime.settings import DatabaseSettings, Settings, SettingsError, load_settings

SETTINGS = settings_of(Settings)


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.problems


def test_nothing_set_gives_the_defaults() -> None:
    """An empty environment is a valid one, whatever else it holds."""
    assert load_settings({"PATH": "/usr/bin", "HOME": "/home/me"}) == Settings()


def test_every_default_is_within_its_own_bounds() -> None:
    """What the documentation shows as default can be written into the environment."""
    written = {setting.variable: setting.text_of(setting.default) for setting in SETTINGS}
    assert load_settings(written) == Settings()


def test_values_are_converted_to_their_units() -> None:
    """Durations become seconds, sizes bytes, numbers numbers."""
    settings = load_settings(
        {
            "SEXTANT_INGEST_FUTURE_SKEW": "10m",
            "SEXTANT_SERVER_BODY_TIMEOUT": "500ms",
            "SEXTANT_SERVER_BODY_MAX": "512KiB",
            "SEXTANT_SERVER_INFLATED_MAX": "1048576",
            "SEXTANT_SERVER_PORT": " 9000 ",
            "SEXTANT_INGEST_SAMPLES_PER_S": "1e3",
            "SEXTANT_LOG_LEVEL": "debug",
        }
    )
    assert settings.ingest.future_skew_s == 600
    assert settings.server.body_timeout_s == 0.5
    assert settings.server.body_bytes_max == 512 * 1024
    assert settings.server.inflated_bytes_max == 1_048_576
    assert settings.server.port == 9000
    assert settings.ingest.samples_per_s == 1000
    assert settings.log.level == "debug"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SEXTANT_SERVER_PORT", "80a", "'80a' is not an integer from 1 to 65535"),
        ("SEXTANT_SERVER_PORT", "0", "'0' is not an integer from 1 to 65535"),
        ("SEXTANT_SERVER_PORT", "70000", "'70000' is not an integer from 1 to 65535"),
        ("SEXTANT_SERVER_WORKERS", "2.5", "'2.5' is not an integer from 1 to 64"),
        ("SEXTANT_INGEST_SAMPLES_PER_S", "nan", "'nan' is not a number above 0, up to 1e+09"),
        ("SEXTANT_INGEST_SAMPLES_PER_S", "inf", "'inf' is not a number above 0, up to 1e+09"),
        ("SEXTANT_INGEST_SAMPLES_PER_S", "0", "'0' is not a number above 0, up to 1e+09"),
        ("SEXTANT_QUERY_TIMEOUT", "30", "'30' is not a duration from 100ms to 1h, such as 500ms, 30s, 5m or 7d"),
        ("SEXTANT_QUERY_TIMEOUT", "2h", "'2h' is not a duration from 100ms to 1h, such as 500ms, 30s, 5m or 7d"),
        ("SEXTANT_SERVER_BODY_MAX", "9PB", "'9PB' is not a size from 1KiB to 1GiB, such as 512KiB or 8MiB"),
        ("SEXTANT_SERVER_BODY_MAX", "8mib", "'8mib' is not a size from 1KiB to 1GiB, such as 512KiB or 8MiB"),
        ("SEXTANT_LOG_LEVEL", "loud", "'loud' is not one of debug, info, warning, error"),
        ("SEXTANT_TEMPORAL_TLS", "maybe", "'maybe' is not true or false"),
        ("SEXTANT_TEMPORAL_ADDRESS", "h", "'h' is not an address such as temporal.internal:7233"),
        ("SEXTANT_TEMPORAL_ADDRESS", "http://h:1", "'http://h:1' is not an address such as temporal.internal:7233"),
        ("SEXTANT_TEMPORAL_ADDRESS", "h:99999", "'h:99999' is not an address such as temporal.internal:7233"),
        ("SEXTANT_TEMPORAL_ADDRESS", "u@h:1", "'u@h:1' is not an address such as temporal.internal:7233"),
        ("SEXTANT_ALERTS_PUBLIC_URL", "h", "'h' is not a URL such as https://sextant.example.org"),
        (
            "SEXTANT_ALERTS_PUBLIC_URL",
            "https://h?a=1",
            "'https://h?a=1' is not a URL such as https://sextant.example.org",
        ),
        ("SEXTANT_OUTBOUND_ALLOW", "10.0.0.1/8", "'10.0.0.1/8' is not a list of networks such as 127.0.0.0/8,fd00::/8"),
        (
            "SEXTANT_OUTBOUND_ALLOW",
            "10.0.0.0/8,",
            "'10.0.0.0/8,' is not a list of networks such as 127.0.0.0/8,fd00::/8",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(variable: str, value: str, expected: str) -> None:
    """One line: the variable, the value, what it should be."""
    assert problems({variable: value}) == (f"{variable}: {expected}",)


def test_all_wrong_values_are_named_at_once() -> None:
    """Nobody mends them one start at a time."""
    found = problems({"SEXTANT_SERVER_PORT": "x", "SEXTANT_LOG_LEVEL": "x", "SEXTANT_SERVER_PRT": "1"})
    assert len(found) == 3


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """A misspelt setting would silently do nothing."""
    assert problems({"SEXTANT_SERVER_PRT": "1"}) == (
        "SEXTANT_SERVER_PRT is not a setting; did you mean SEXTANT_SERVER_PORT?",
    )
    assert problems({"SEXTANT_X": "1"}) == ("SEXTANT_X is not a setting; unset it",)


def test_names_of_the_test_suite_are_passed_by() -> None:
    """SEXTANT_TEST_* is for tests."""
    assert load_settings({"SEXTANT_TEST_TIMESCALE_URL": "postgresql://x/y"}) == Settings()


def test_an_empty_value_counts_as_absent() -> None:
    """Compose files pass empty values for what is not set."""
    assert load_settings({"SEXTANT_SERVER_PORT": "", "SEXTANT_DATABASE_URL_FILE": ""}) == Settings()


@pytest.mark.parametrize("url", ["mysql://a/b", "postgresql+asyncpg://a/b", "a/b", "postgresql://h:port/d"])
def test_a_wrong_database_url_is_refused_without_being_shown(url: str) -> None:
    """It may hold a password."""
    (problem,) = problems({"SEXTANT_DATABASE_URL": url})
    assert problem == (
        "SEXTANT_DATABASE_URL: its value is not a URL such as postgresql://user:password@host:5432/database"
    )


@pytest.mark.parametrize("url", ["postgresql://u:p@h:5432/d", "postgres:///d?host=/run/pg", "postgresql://u@h/d"])
def test_database_urls_of_every_form_are_taken(url: str) -> None:
    """As libpq takes them."""
    assert load_settings({"SEXTANT_DATABASE_URL": url}).database.url == url


@pytest.mark.parametrize(
    "text", ["restart", "restart=", "restart=bin/restart", "=/bin/x", "a b=/bin/x", "a=/x,a=/y", ","]
)
def test_commands_that_cannot_be_are_refused(text: str) -> None:
    """Each needs a name of its own and an absolute path."""
    (problem,) = problems({"SEXTANT_WORKER_COMMANDS": text})
    assert problem.startswith(f"SEXTANT_WORKER_COMMANDS: {text!r} is not a list such as restart-web=/usr/local/bin/")


def test_lists_and_addresses_are_read() -> None:
    """Spaces around the parts of a list do not count, nor does a slash at the end of a URL."""
    settings = load_settings(
        {
            "SEXTANT_WORKER_COMMANDS": "restart-web=/usr/bin/restart web, purge=/opt/purge",
            "SEXTANT_OUTBOUND_ALLOW": "127.0.0.1, fd00::/8",
            "SEXTANT_TEMPORAL_ADDRESS": "[::1]:7233",
            "SEXTANT_ALERTS_PUBLIC_URL": "https://sextant.example.org/metrics/",
            "SEXTANT_WORKER_KUBERNETES_IN_CLUSTER": "True",
        }
    )
    assert settings.worker.commands == {"restart-web": Path("/usr/bin/restart web"), "purge": Path("/opt/purge")}
    assert settings.outbound.allow == ("127.0.0.1/32", "fd00::/8")
    assert settings.temporal.address == "[::1]:7233"
    assert settings.alerts.public_url == "https://sextant.example.org/metrics"
    assert settings.worker.kubernetes_in_cluster


def test_a_key_for_temporal_never_travels_in_the_clear() -> None:
    """It is refused without TLS."""
    environ = {"SEXTANT_TEMPORAL_API_KEY": "hunter2"}
    (problem,) = problems(environ)
    assert problem == "SEXTANT_TEMPORAL_API_KEY would travel in the clear; set SEXTANT_TEMPORAL_TLS=true"
    assert load_settings({**environ, "SEXTANT_TEMPORAL_TLS": "true"}).temporal.api_key == "hunter2"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """Its last line's end is not part of it."""
    secret = tmp_path / "key"
    secret.write_text("0123456789abcdef\n")
    settings = load_settings({"SEXTANT_BOOTSTRAP_API_KEY_FILE": str(secret)})
    assert settings.bootstrap.api_key == "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"\xff\xfe", "is not UTF-8 text"), (b"x" * 70_000, "is larger than 65536 bytes")],
)
def test_a_secret_file_that_cannot_be_one_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """The message names the variable and the file."""
    path = tmp_path / "key"
    path.write_bytes(content)
    assert problems({"SEXTANT_DATABASE_URL_FILE": str(path)}) == (f"SEXTANT_DATABASE_URL_FILE: {path} {reason}",)


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    """So is why it cannot be read."""
    path = tmp_path / "none"
    assert problems({"SEXTANT_DATABASE_URL_FILE": str(path)}) == (
        f"SEXTANT_DATABASE_URL_FILE: cannot read {path}: No such file or directory",
    )


def test_a_secret_from_both_places_is_refused(tmp_path: Path) -> None:
    """Which of them counts would be a guess."""
    (problem,) = problems({"SEXTANT_DATABASE_URL": "postgresql://h/d", "SEXTANT_DATABASE_URL_FILE": str(tmp_path)})
    assert problem.startswith("SEXTANT_DATABASE_URL and SEXTANT_DATABASE_URL_FILE are both set")


def test_only_secrets_have_files() -> None:
    """A file for anything else is a mistake."""
    (problem,) = problems({"SEXTANT_SERVER_PORT_FILE": "/x"})
    assert problem.startswith("SEXTANT_SERVER_PORT_FILE is not a setting")


def test_no_repr_shows_a_secret() -> None:
    """Settings may end up in a log or a traceback."""
    settings = load_settings(
        {
            "SEXTANT_DATABASE_URL": "postgresql://u:hunter2@h/d",
            "SEXTANT_BOOTSTRAP_API_KEY": "hunter2-hunter2-hunter2",
            "SEXTANT_AGENT_KEY": "hunter2",
        }
    )
    assert "hunter2" not in repr(settings) + str(settings) + f"{settings.database!r}"
    assert repr(DatabaseSettings()).startswith("DatabaseSettings(url=None, pool_size=10")


def test_the_data_directory_follows_the_environment(tmp_path: Path) -> None:
    """$XDG_DATA_HOME is honoured, the setting goes before it, ~ is the home directory."""
    assert load_settings({"XDG_DATA_HOME": str(tmp_path)}).server.data_dir == tmp_path / "sextant"
    chosen = load_settings({"XDG_DATA_HOME": str(tmp_path), "SEXTANT_SERVER_DATA_DIR": "~/here"})
    assert chosen.server.data_dir == Path.home() / "here"


@pytest.mark.parametrize(
    ("environ", "cluster_id"),
    [
        ({}, "default"),
        ({"EKS_CLUSTER_ID": "shop"}, "shop"),
        ({"EKS_CLUSTER_ID": "shop", "SEXTANT_WORKER_CLUSTER_ID": "web"}, "web"),
        ({"EKS_CLUSTER_ID": "", "SEXTANT_WORKER_CLUSTER_ID": ""}, "default"),
    ],
)
def test_the_cluster_that_is_changed_is_the_one_that_is_watched(environ: dict[str, str], cluster_id: str) -> None:
    """Unless the worker's own setting says otherwise."""
    assert load_settings(environ).worker.cluster_id == cluster_id


def test_every_setting_says_what_it_means() -> None:
    """One sentence, and a variable named after its section and field."""
    for setting in SETTINGS:
        assert setting.meaning.endswith(".")
        assert setting.variable.startswith(f"SEXTANT_{setting.section.upper()}_")
        assert setting.expected


def test_a_variable_is_used_once() -> None:
    """No two settings share a name."""
    variables = [setting.variable for setting in SETTINGS]
    assert len(set(variables)) == len(variables)


def test_an_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    """A directory in place of a file is what a missing mount looks like."""
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
    assert problems({"SEXTANT_DATABASE_URL_FILE": str(tmp_path)}) == (
        f"SEXTANT_DATABASE_URL_FILE: cannot read {tmp_path}: Is a directory",
    )
