"""What is secret in a workload's configuration is masked, and what only looks a little like it is not."""

import time

import pytest

from adapters.driven.sources.eks_masking import is_secret_name, masked_arguments, masked_text, masked_value

SECRET = "hunter2"
SECRET_NAMES = [
    "NEW_RELIC_LICENSE_KEY",
    "DD_APP_KEY",
    "APP_KEY",
    "ENCRYPTION_KEY",
    "RAILS_MASTER_KEY",
    "FERNET_KEY",
    "STRIPE_KEY",
    "PGPASS",
    "AUTHORIZATION",
    "SEXTANT_COLLECTION_KEYS",
    "PGPASSWORD",
    "MYSQL_PWD",
    "API_TOKEN",
    "apiKey",
    "APIKey",
    "APIKEY",
    "licenseKey",
    "clientSecret",
    "KEY",
    "key2",
    "KEYS",
    "x-api-key",
    "spring.datasource.password",
    "SLACK_WEBHOOK",
    "WEBHOOK_URL",
    "SESSION",
    "SESSION_ID",
    "JSESSIONID",
    "Cookie",
    "ERLANG_COOKIE",
    "SENTRY_DSN",
    "SharedAccessSignature",
    "--license-key",
    "accesskey",
    "AWS_SECRET_ACCESS_KEY",
    "HMAC_KEY",
    "Proxy-Authorization",
    "PASSWORD",
    "DB_PASSWORD",
    "API_KEY",
    "ACCESS_TOKEN",
    "LICENSE_KEY",
    "SECRET",
    "COSMOS_PRIMARY_KEY",
    "SECRET_KEY_BASE",
    "MODEL_API_KEY",
    "KEY_VAULT_SECRET",
    "TOKENS",
    "apitoken",
    "MAX_TOKENS_SECRET",
]
OPEN_NAMES = [
    "KEYBOARD",
    "MONKEY",
    "APP_KEYBOARD",
    "PARTITION_KEY",
    "PARTITION_KEYS",
    "KEY_PREFIX",
    "KEY_FILE",
    "PUBLIC_KEY",
    "KEYSPACE",
    "--keyspace",
    "--author",
    "--bypass",
    "COOKIE_DOMAIN",
    "SESSION_TIMEOUT",
    "WEBHOOK_PORT",
    "HOTKEYS",
    "COMPASS",
    "MAX_TOKENS",
    "maxNewTokens",
    "TOKENIZER_MODEL",
    "AUTH_ENABLED",
    "AUTH_TOKEN_TTL",
    "PASSWORD_MIN_LENGTH",
    "KAFKA_KEY_DESERIALIZER",
    "cache_key",
    "primary_key",
    "KEY_VAULT_URL",
    "--tls-private-key-file",
    "--pass-through",
    "LOG_LEVEL",
    "PORT",
    "DESIGNATED",
    "BASIC",
    "日本",
    "-",
    "_",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name: str) -> None:
    """What stands under them is masked, as a variable, as an argument, in a command, in JSON and in a header."""
    assert is_secret_name(name)
    assert masked_value(name, SECRET) == "…"
    flag = f"--{name.lstrip('-')}"
    shown = [
        *masked_arguments([f"{flag}={SECRET}", flag, SECRET]),
        masked_text(f"run {flag} {SECRET} && {name}={SECRET} run"),
        masked_text(f'{{"{name}":"{SECRET}","x":["{flag}", "{SECRET}"]}}'),
        masked_text(f"curl -H '{name}: {SECRET} {SECRET}' -H {name}:{SECRET}"),
    ]
    assert SECRET not in str(shown)


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_other_names(name: str) -> None:
    """They contain the same letters, or speak of something about a secret that is none."""
    assert not is_secret_name(name)
    assert masked_value(name, "debug") == "debug"
    assert masked_arguments([f"--{name}=debug"]) == [f"--{name}=debug"]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--db-password=x y", "-v"], ["--db-password=…", "-v"]),
        (["--token", "abc", "run"], ["--token", "…", "run"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["redis://:s3cret@cache:6379/0"], ["redis://:…@cache:6379/0"]),
        (["--url=amqp://u:p@mq/x"], ["--url=amqp://u:…@mq/x"]),
        (["sh", "-c", "PGPASSWORD=abc psql -h db"], ["sh", "-c", "PGPASSWORD=… psql -h db"]),
        (["--author=me", "--bypass=yes", "--keyspace=a"], ["--author=me", "--bypass=yes", "--keyspace=a"]),
        (["-H", "Authorization: Bearer abc"], ["-H", "Authorization: …"]),
        (["--set=db.password=abc"], ["--set=db.password=…"]),
    ],
)
def test_arguments(arguments: list[str], shown: list[str]) -> None:
    """What stands after the name of a secret is masked, in the same argument or the next."""
    assert masked_arguments(arguments) == shown


@pytest.mark.parametrize(
    "text",
    [
        '{"password":"hunter2"}',
        '{"password" : "x\\"hunter2", "user": 1}',
        '{\\"password\\": \\"hunter2\\"}',
        '{"password": 1, "api_keys": ["a", "hunter2"]}',
        '{"auths": {"registry": {"auth": "hunter2"}}}',
        '{"secret": {"value": "hunter2"}}',
        "{'password': 'hunter2'}",
        "user: a\npassword: hunter2 hunter2\nhost: b",
        "a: 1\napi_keys:\n- hunter2\n- hunter2\nb: 2",
        "password: |-\n  hunter2\n  hunter2",
        "secret:\n  value: hunter2\n",
        "password = hunter2",
        "password='a hunter2' run",
        "url=http://db/?user=a&api_key=hunter2&x=1",
        "Server=db;User Id=sa;Password=hunter2;",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hunter2==;EndpointSuffix=x",
        "postgres://shop:a@hunter2@db/shop",
        "https://hunter2@sentry.example/1",
        "https://hooks.slack.com/services/T0/B0/hunter2",
        '{"url": "https://discord.com/api/webhooks/1/hunter2"}',
        "curl -H 'Cookie: sid=hunter2; a=hunter2' http://web/",
        "call it with Bearer hunter2",
        "Authorization=Basic hunter2",
        "x-token:hunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "as eyJhbGciOiJIUzI1NiJ9.hunter2.hunter2",
        "with ghp_0123456789hunter2",
    ],
)
def test_texts(text: str) -> None:
    """Secrets in connection strings, JSON, YAML, headers and addresses, and those that tell by their form."""
    assert SECRET in text
    assert SECRET not in masked_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://token-service:8080/path",
        "token-service.shop:8080",
        "arn:aws:secretsmanager:eu-central-1:1:x",
        "https://web.example/a/b?page=2",
        "http://webhook:8443",
        '{"level": "debug", "keyboard": "de", "partition_key": "id"}',
        "java -Xmx512m -jar app.jar --port 80",
        "git@example.com:a/b.git",
        "",
    ],
)
def test_texts_without_secrets(text: str) -> None:
    """They stay as they are."""
    assert masked_text(text) == text


HOSTILE = [
    "a",
    "-",
    "=",
    ":",
    ":",
    '"',
    "'",
    "\\",
    "a=",
    "password",
    "password=",
    'password="',
    '"password":"',
    "://:",
    "://a:@",
    "http://",
    "https://a",
    "bearer",
    "token:[",
    "token:{",
    "-----BEGIN",
    "eyJ",
    "eyJaaaaaaaa.",
    "hook",
    "http://hook/",
    "A",
    "aB",
    "key_",
    "--a",
    "ghp_",
    '\\"',
    ":=",
]


@pytest.mark.parametrize(
    "piece", [*HOSTILE, " ", "bearer ", "--key ", "key:\n", "key:\n ", "a ", "-----BEGIN RSA ", "\n"]
)
def test_the_longest_texts_take_no_time(piece: str) -> None:
    """Whatever a text repeats, the time is linear in it: a quarter of a megabyte takes a fraction of a second."""
    text = (piece * (1 << 18))[: 1 << 18]
    began = time.process_time()
    masked_arguments([text, f"--{text}"])
    is_secret_name(text)
    assert time.process_time() - began < 3.0
