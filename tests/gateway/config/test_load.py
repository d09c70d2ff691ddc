"""From a file, the environment and secrets' files to frozen settings."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config.load import load, read
from gateway.config.problems import ConfigError
from gateway.config.schema import Settings

KNOWN = {"openai": ("OPENAI_API_KEY",), "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"), "ollama": ()}


def settings(text: str = "", environ: Mapping[str, str] | None = None) -> Settings:
    return read(text, "turnpike.yaml", {"HOME": "/home/ada"} | dict(environ or {}), KNOWN)


def problems(text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(text, environ)
    return [str(problem) for problem in caught.value.problems]


def test_nothing_configured_gives_the_contracts_defaults() -> None:
    s = settings()
    assert (s.server.host, s.server.port, s.server.workers) == ("127.0.0.1", 8787, 1)
    assert (s.server.request_body_bytes_max, s.server.body_timeout_s, s.server.sse_keepalive_s) == (52428800, 30, 25)
    assert (s.server.drain_delay_s, s.server.drain_seconds_max) == (5, 60)
    assert s.state.directory == Path("/home/ada/.local/share/turnpike")
    assert s.state.database_url == "sqlite:////home/ada/.local/share/turnpike/turnpike.db"
    assert s.state.admin_key_file == Path("/home/ada/.local/share/turnpike/admin.key")
    assert s.auth.admin_key is None
    assert (s.providers, s.models, s.local.models, s.local.command) == ({}, {}, {}, None)
    exact = s.cache.exact
    assert (exact.enabled, exact.ttl_s, exact.temperature_max, exact.scope) == (True, 3600, 0, "team")
    assert (s.billing.journal_sync, s.billing.unknown_outcome, s.billing.cancelled_stream) == (
        "os",
        "charge_hold",
        "cancel",
    )
    assert s.metrics.labels == ("team", "model", "provider")


def test_a_providers_timeouts_have_the_contracts_defaults() -> None:
    timeouts = settings("providers: {openai: {timeouts: {idle_s: 7.5}}}").providers["openai"].timeouts
    assert (timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, timeouts.total_s) == (5, 600, 7.5, 3600)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        settings().server.port = 1  # type: ignore[misc]


def test_prices_arrive_as_the_decimals_that_were_written() -> None:
    text = "models: {a: [{provider: ollama, model: m, price: {input: 0.10, output: 0.123456, request: 0.000000001}}]}"
    price = settings(text + "\nproviders: {ollama: }").models["a"][0].price
    assert price is not None
    assert (str(price.input), price.output, price.request) == ("0.10", Decimal("0.123456"), Decimal("1e-9"))


def test_prices_are_exact_from_a_variable_too() -> None:
    pool = "[{provider: ollama, model: m, price: {input: 0.3, output: 7}}]"
    environ = {
        "TURNPIKE_MODELS__A": pool,
        "TURNPIKE_PROVIDERS__OLLAMA": "{}",
        "TURNPIKE_MODELS__A__0__PRICE__INPUT": "0.1",
    }
    price = settings(environ=environ).models["a"][0].price
    assert price is not None
    assert price.input == Decimal("0.1")


def test_a_section_or_key_with_nothing_after_it_means_its_default() -> None:
    s = settings("server:\nauth: {admin_key: }\nproviders: {openai: }\nmodels:\ncache: {exact: {ttl_s: null}}")
    assert s.server.port == 8787
    assert list(s.providers) == ["openai"]
    assert s.cache.exact.ttl_s == 3600


# --- the environment


def test_a_variable_beats_the_file() -> None:
    s = settings("server: {port: 1, host: '::1'}", {"TURNPIKE_SERVER__PORT": "8080"})
    assert (s.server.port, s.server.host) == (8080, "::1")


def test_variables_reach_names_with_dashes_and_entries_of_lists() -> None:
    text = "local: {models: {qwen-small: {model: q}}}\nmodels: {my-chat: [{provider: local, model: qwen-small}]}"
    environ = {"TURNPIKE_LOCAL__MODELS__QWEN_SMALL__REPLICAS": "2", "TURNPIKE_MODELS__MY_CHAT__0__WEIGHT": "5"}
    s = settings(text, environ)
    assert s.local.models["qwen-small"].replicas == 2
    assert s.models["my-chat"][0].weight == 5


def test_a_whole_section_as_a_variable_and_a_part_of_it_above() -> None:
    environ = {"TURNPIKE_SERVER": "{port: 1, host: a.test}", "TURNPIKE_SERVER__PORT": "2"}
    s = settings("server: {drain_delay_s: 1}", environ)
    assert (s.server.port, s.server.host, s.server.drain_delay_s) == (2, "a.test", 5)


def test_a_variable_named_file_reads_that_file(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("8081\n")
    (tmp_path / "key").write_text("sk-from-file\r\n")
    environ = {"TURNPIKE_SERVER__PORT_FILE": str(tmp_path / "port"), "OPENAI_API_KEY_FILE": str(tmp_path / "key")}
    s = settings(environ=environ)
    assert s.server.port == 8081
    assert s.providers["openai"].api_keys[0].key.get_secret_value() == "sk-from-file"


def test_booleans_nothing_and_numbers_like_secrets_survive_a_variable() -> None:
    environ = {
        "TURNPIKE_CACHE__EXACT__ENABLED": "false",
        "TURNPIKE_METRICS__TOKEN": "0012",
        "TURNPIKE_SERVER__TLS": "null",
        "TURNPIKE_SERVER__ROOT_PATH": "",
        "TURNPIKE_TELEMETRY__SAMPLE_RATIO": "1.0",
    }
    s = settings(environ=environ)
    assert s.cache.exact.enabled is False
    assert s.metrics.token is not None
    assert s.metrics.token.get_secret_value() == "0012"


def test_variables_that_are_no_configuration_are_left_alone() -> None:
    environ = {
        "TURNPIKE_SECRET_KEY": "x",
        "TURNPIKE_KEY": "x",
        "TURNPIKE_TEST_DATABASE": "x",
        "DATABASE_URL": "postgres://u:p@elsewhere/db",
        # Kubernetes sets these for a service named "turnpike".
        "TURNPIKE_SERVICE_HOST": "10.0.0.1",
        "TURNPIKE_SERVICE_PORT_HTTP": "8787",
        "TURNPIKE_PORT": "tcp://10.0.0.1:8787",
        "TURNPIKE_PORT_8787_TCP_ADDR": "10.0.0.1",
    }
    assert settings(environ=environ) == settings()


def test_a_variable_that_the_file_refers_to_is_no_key() -> None:
    s = settings("providers: {openai: {api_key: env:TURNPIKE_OPENAI}}", {"TURNPIKE_OPENAI": "sk-1"})
    assert s.providers["openai"].api_keys[0].key.get_secret_value() == "sk-1"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"TURNPIKE_SERVER__PROT": "1"}, 'TURNPIKE_SERVER__PROT: server.prot is unknown; did you mean "port"?'),
        ({"TURNPIKE_SEVER__PORT": "1"}, 'TURNPIKE_SEVER__PORT: sever is unknown; did you mean "server"?'),
        ({"TURNPIKE_SERVER__PORT": "x"}, "TURNPIKE_SERVER__PORT: server.port must be a whole number"),
        ({"TURNPIKE_SERVER__PORT__X": "1", "TURNPIKE_SERVER__PORT": "1"}, "server.port is a single value"),
        ({"TURNPIKE_SERVER__TLS": "{key: a}"}, "TURNPIKE_SERVER__TLS: server.tls is not supported yet"),
        ({"TURNPIKE_MODELS": "[", "HOME": "/"}, "TURNPIKE_MODELS: is not valid YAML"),
        ({"TURNPIKE_MODELS__A": "[]", "TURNPIKE_MODELS__A__0__WEIGHT": "1"}, 'models.a holds no "0"'),
        ({"TURNPIKE_SERVER__": "1"}, 'server holds no ""'),
        ({"TURNPIKE_SERVER__PORT_FILE": "/nowhere/port"}, "names the file /nowhere/port, which cannot be read"),
        ({"TURNPIKE_SERVER__PORT_FILE": "/p", "TURNPIKE_SERVER__PORT": "1"}, "are set; unset one of them"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(environ: dict[str, str], message: str) -> None:
    assert any(message in problem for problem in problems(environ=environ))


# --- references


@pytest.mark.parametrize("reference", ["env:LAB_KEY", "os.environ/LAB_KEY"])
def test_a_reference_takes_a_variable_anywhere(reference: str) -> None:
    text = f"providers: {{lab: {{base_url: env:LAB_URL, api_keys: [{{key: {reference}}}]}}}}\nserver: {{port: env:P}}"
    s = settings(text, {"LAB_KEY": "k", "LAB_URL": "http://lab.test/v1/", "P": "99"})
    assert s.providers["lab"].api_keys[0].key.get_secret_value() == "k"
    assert s.providers["lab"].base_url == "http://lab.test/v1"
    assert s.server.port == 99


def test_a_value_that_came_from_elsewhere_is_not_looked_at_again() -> None:
    s = settings("providers: {openai: {api_key: env:A}}", {"A": "env:B", "B": "b"})
    assert s.providers["openai"].api_keys[0].key.get_secret_value() == "env:B"


def test_a_file_reference_starts_from_the_files_folder_and_knows_home(tmp_path: Path) -> None:
    (tmp_path / "lab.key").write_text("k1\n")
    config = tmp_path / "turnpike.yaml"
    config.write_text("providers: {openai: {api_keys: [{key: file:lab.key, weight: 2}, {key: 'file:~/lab.key'}]}}")
    keys = load(config, {"HOME": str(tmp_path)}, KNOWN).providers["openai"].api_keys
    assert [(key.key.get_secret_value(), key.weight) for key in keys] == [("k1", 2), ("k1", 1)]


def test_a_relative_state_directory_starts_from_the_files_folder(tmp_path: Path) -> None:
    config = tmp_path / "turnpike.yaml"
    config.write_text("state: {directory: data}")
    assert load(config, {}).state.directory == tmp_path / "data"
    assert load(config, {"TURNPIKE_STATE__DIRECTORY": "data"}).state.directory == Path.cwd() / "data"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "env:GONE",
            "providers.openai.api_key is not to be had: the environment variable GONE is not set; set it or GONE_FILE",
        ),
        ("env:EMPTY", "the environment variable EMPTY is not set"),
        ("'env:'", "env: is not followed by a variable's name"),
        ("env:A B", "env: is not followed by a variable's name"),
        ("'file:'", "file: names no file"),
        ("file:/nowhere", "it names the file /nowhere, which cannot be read: No such file or directory"),
        ("file:/", "which cannot be read: Is a directory"),
    ],
)
def test_a_reference_to_nothing_is_refused_with_key_and_name(value: str, message: str) -> None:
    (problem,) = problems(f"\nproviders: {{openai: {{api_key: {value}}}}}", {"EMPTY": ""})
    assert problem.startswith("turnpike.yaml:2: providers.openai.api_key ")
    assert message in problem


@pytest.mark.parametrize(("content", "message"), [(b"\xff\xfe", "it is not UTF-8 text"), (b"x" * 70000, "longer than")])
def test_a_secrets_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "key").write_bytes(content)
    assert message in problems(f"providers: {{openai: {{api_key: 'file:{tmp_path}/key'}}}}")[0]


def test_the_admin_key_comes_from_its_variable_and_its_absence_is_no_error() -> None:
    for text in ("", "auth: {admin_key: env:TURNPIKE_ADMIN_KEY}", "auth: {admin_key: os.environ/TURNPIKE_ADMIN_KEY}"):
        assert settings(text).auth.admin_key is None
        key = settings(text, {"TURNPIKE_ADMIN_KEY": "tp-admin"}).auth.admin_key
        assert key is not None
        assert key.get_secret_value() == "tp-admin"
    key = settings("auth: {admin_key: own}", {"TURNPIKE_ADMIN_KEY": "tp-admin"}).auth.admin_key
    assert key is not None
    assert key.get_secret_value() == "own"
    assert "env:OTHER" not in problems("auth: {admin_key: env:OTHER}")[0]
    assert "OTHER is not set" in problems("auth: {admin_key: env:OTHER}")[0]
    assert "cannot be read" in problems(environ={"TURNPIKE_ADMIN_KEY_FILE": "/nowhere"})[0]


# --- discovery


def test_without_providers_those_whose_key_is_in_the_environment_are_used() -> None:
    s = settings(environ={"OPENAI_API_KEY": "sk-1", "GEMINI_API_KEY": "", "OTHER_API_KEY": "x"})
    assert list(s.providers) == ["openai"]
    assert list(settings(environ={"GOOGLE_API_KEY": "g-1"}).providers) == ["gemini"]
    assert s.providers["openai"].base_url is None
    assert s.providers["openai"].api_keys[0].key.get_secret_value() == "sk-1"


def test_with_providers_only_those_are_used_and_a_known_one_takes_its_usual_key() -> None:
    environ = {"OPENAI_API_KEY": "sk-1", "GEMINI_API_KEY": "g-1"}
    s = settings("providers: {gemini: , ollama: {base_url: 'http://gpu.test:11434/v1'}}", environ)
    assert list(s.providers) == ["gemini", "ollama"]
    assert s.providers["gemini"].api_keys[0].key.get_secret_value() == "g-1"
    assert s.providers["ollama"].api_keys == ()
    assert settings("providers: {}", environ).providers == {}


def test_the_usual_key_is_not_sent_to_an_address_of_ones_own() -> None:
    s = settings("providers: {openai: {base_url: 'http://mirror.test/v1'}}", {"OPENAI_API_KEY": "sk-1"})
    assert s.providers["openai"].api_keys == ()


def test_a_pool_may_name_a_discovered_provider() -> None:
    text = "models: {chat: [{provider: openai, model: gpt-5-mini}]}"
    assert settings(text, {"OPENAI_API_KEY": "sk-1"}).models["chat"][0].model == "gpt-5-mini"
    (problem,) = problems(text)
    assert problem.startswith("turnpike.yaml:1: models.chat[0].provider names openai, for which there is no key; ")
    assert problem.endswith("set OPENAI_API_KEY or add providers.openai")


def test_a_bad_usual_key_is_told_by_its_variable() -> None:
    (problem,) = problems(environ={"OPENAI_API_KEY": "two\nlines"})
    assert problem.startswith("OPENAI_API_KEY: providers.openai.api_key holds a line break")
    assert "OPENAI_API_KEY_FILE names the file /nowhere" in problems(environ={"OPENAI_API_KEY_FILE": "/nowhere"})[0]


# --- the file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no such file; check the path, or leave --config out"),
        (lambda path: path.mkdir(), "it cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"\xff"), "it is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path, make, message: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    make(tmp_path / "c.yaml")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "c.yaml", {})
    assert str(caught.value) == f"{tmp_path / 'c.yaml'}: {message}"


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfserver: {port: 1}")
    assert load(tmp_path / "c.yaml", {"HOME": "/"}).server.port == 1


def test_several_problems_are_all_told_and_the_text_stays_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        settings("server: {port: x}\nmodels: 3\n")
    assert [str(problem) for problem in caught.value.problems] == [
        "turnpike.yaml:1: server.port must be a whole number",
        "turnpike.yaml:2: models must be a mapping of names",
    ]
    assert str(caught.value) == (
        "turnpike.yaml:1: server.port must be a whole number (and 1 more: `turnpike config check` lists them)"
    )


def test_no_secret_is_in_the_repr_or_the_dump_of_settings() -> None:
    text = """
auth: {admin_key: hunter2-admin}
providers: {lab: {base_url: 'http://l.test', api_key: hunter2-key, headers: {authorization: hunter2-header}}}
metrics: {token: hunter2-token}
"""
    s = settings(text)
    assert "hunter2" not in repr(s)
    assert "hunter2" not in str(s)


@pytest.mark.parametrize(
    "address",
    ["postgres://u:pw@h/db?sslmode=require", "postgresql+asyncpg://u:pw@h/db", "postgresql://u@/db?host=%2Frun"],
)
def test_addresses_of_postgresql_are_taken_as_people_have_them(address: str) -> None:
    state = read(f"state: {{database: '{address}'}}", "t.yaml", {}).state
    assert state.database_url == address
    assert not state.migrates_itself


def test_limits_are_read_and_nothing_is_no_limit() -> None:
    limits = read("limits: {requests_per_minute: 5, tokens_per_minute: null}", "t.yaml", {}).limits
    assert limits.model_dump() == {"requests_per_minute": 5, "tokens_per_minute": None, "concurrency_max": None}
    assert read("limits:", "t.yaml", {"TURNPIKE_LIMITS__CONCURRENCY_MAX": "3"}).limits.concurrency_max == 3
    assert any("limits.tokens_per_minute" in problem for problem in problems("limits: {tokens_per_minute: 0}"))


def test_a_file_is_migrated_by_the_gateway_itself() -> None:
    assert read("", "t.yaml", {}).state.migrates_itself
    assert read("state: {database: 'sqlite:////srv/books.db'}", "t.yaml", {}).state.migrates_itself
