"""Each wrong configuration is refused at its line, with the key and with what to do."""

import pytest

from gateway.config.later import KEYS, SECTIONS
from gateway.config.load import read
from gateway.config.problems import ConfigError

KNOWN = {"openai": ("OPENAI_API_KEY",)}
LAB = "providers: {lab: {base_url: 'http://lab.test/v1'}}\n"


def problems(text: str) -> list[str]:
    try:
        read(text, "t.yaml", {"HOME": "/home/ada"}, KNOWN)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def nested(path: tuple[str, ...], value: str) -> str:
    for part in reversed(path):
        value = f"{{{'lab' if part == '*' else part}: {value}}}"
    return value


@pytest.mark.parametrize("path", KEYS)
def test_a_key_that_nothing_reads_yet_is_refused_by_name(path: tuple[str, ...]) -> None:
    written = ".".join("lab" if part == "*" else part for part in path)
    assert f"t.yaml:1: {written} is not supported yet; remove it" in problems(nested(path, "something"))


@pytest.mark.parametrize("path", KEYS)
def test_nothing_in_place_of_such_a_key_is_no_wish(path: tuple[str, ...]) -> None:
    assert not any("supported" in problem for problem in problems(nested(path, "null")))


def test_the_contracts_defaults_may_be_written_out() -> None:
    text = """
server: {tls: null, public_url: null, root_path: "", trusted_proxies: [], cors_origins: [], workers: 1}
state: {redis: null, database: sqlite}
auth: {admin_key: env:TURNPIKE_ADMIN_KEY, oidc: null}
secrets: {encryption_key: env:TURNPIKE_SECRET_KEY}
local: {gpu_hour_usd: null}
routing: {fallbacks: {}, over_budget: reject}
cache:
  exact: {enabled: true, ttl_s: 3600, temperature_max: 0, scope: team}
  semantic: {enabled: false, error_max: 0.01, probability_min: 0.90, ttl_s: 86400, temperature_max: 1, scope: team,
             judge: null, shadow_ratio: 0.01}
limits: {requests_per_minute: null, tokens_per_minute: null, concurrency_max: null}
billing: {journal_sync: os, database_grace_s: 30, unknown_outcome: charge_hold, cancelled_stream: cancel,
          database_down: refuse}
telemetry: {otlp_endpoint: null, sample_ratio: 1.0, capture: none, log_format: json}
metrics: {listen: null, token: null, labels: [team, model, provider]}
alerts: {thresholds: [0.8, 0.95, 1.0], webhooks: []}
retention: {requests_days: 90, bodies_days: 7}
"""
    assert problems(text) == []


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_in_a_section_of_later_is_unknown(section: tuple[str, ...]) -> None:
    assert any("nosuch is unknown; known here: " in problem for problem in problems(nested((*section, "nosuch"), "1")))
    assert any("is not supported yet" in problem for problem in problems(nested(section, "7")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {workers: 65}", "t.yaml:1: server.workers must be at most 64"),
        ("server: {workers: 0}", "t.yaml:1: server.workers must be at least 1"),
        ("providers: {lab: {dialect: anthropic}}", "providers.lab.dialect is not supported yet, except as openai"),
        ("providers: {lab: {dialect: klingon}}", "providers.lab.dialect must be 'openai'"),
        ("billing: {journal_sync: never}", "billing.journal_sync must be 'os', 'group' or 'always'"),
        ("billing: {unknown_outcome: forgive}", "billing.unknown_outcome must be 'charge_hold' or 'charge_input'"),
        ("billing: {cancelled_stream: stop}", "billing.cancelled_stream must be 'cancel' or 'drain'"),
        ("metrics: {labels: [team]}", "metrics.labels is not supported yet, except as [team, model, provider]"),
        (
            "state: {database: 'mysql://u:pw@h/db'}",
            "state.database is not supported, except as sqlite",
        ),
        ("state: {database: oracle}", "state.database must be sqlite, sqlite:///PATH"),
        ("state: {database: 'sqlite://'}", "state.database must be sqlite, sqlite:///PATH"),
        ("state: {database: 'sqlite:///:memory:'}", "state.database must be sqlite, sqlite:///PATH"),
        (
            "models: {auto: {route: complexity, candidates: [a], quality_floor: 0.9}}",
            "t.yaml:1: models.auto.route is not supported yet; write a list of deployments",
        ),
        ("models: {auto: {provider: a}}", "models.auto must be a list"),
        ("cache: {semantic: {enabled: true}}", "t.yaml:1: cache.semantic.enabled is not supported yet; remove it"),
    ],
)
def test_a_value_that_nothing_reads_yet_is_refused(text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text)), problems(text)


def test_a_password_of_a_database_is_not_repeated() -> None:
    assert not any("hunter2" in problem for problem in problems("state: {database: 'postgresql://u:hunter2@h/db'}"))
    assert not any("hunter2" in problem for problem in problems("providers: {x: {base_url: 'http://u:hunter2@h'}}"))
    assert not any("hunter2" in problem for problem in problems("auth: {admin_key: [hunter2]}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sever: {port: 1}", 't.yaml:1: sever is unknown; did you mean "server"?'),
        ("\nserver:\n  prot: 1", 't.yaml:3: server.prot is unknown; did you mean "port"?'),
        ("server: {prot: null}", 't.yaml:1: server.prot is unknown; did you mean "port"?'),
        (
            "limits: {request_per_minute: 1}",
            'limits.request_per_minute is unknown; did you mean "requests_per_minute"?',
        ),
        ("server: {tsl: null}", 'server.tsl is unknown; did you mean "tls"?'),
        ("providers: {lab: {base-url: x}}", 'providers.lab.base-url is unknown; did you mean "base_url"?'),
        ("providers: {lab: {timeouts: {conect_s: 1}}}", 'timeouts.conect_s is unknown; did you mean "connect_s"?'),
        ("providers: {lab: {api_keys: [{kee: a}]}}", 'providers.lab.api_keys[0].kee is unknown; did you mean "key"?'),
        ("models: {a: [{provder: a}]}", 'models.a[0].provder is unknown; did you mean "provider"?'),
        ("local: {models: {q: {modle: x}}}", 'local.models.q.modle is unknown; did you mean "model"?'),
        ("models: {a: [{price: {inputs: 1}}]}", 'models.a[0].price.inputs is unknown; did you mean "input"?'),
        ("metrics: {zzz: 1}", "metrics.zzz is unknown; known here: labels, listen, token"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {port: 65536}", "server.port must be at most 65535"),
        ("server: {port: 1.5}", "server.port must be a whole number"),
        ("server: {port: true}", "server.port must be a number"),
        ("server: {host: 3}", "server.host must be text; put it in quotes"),
        ("server: {host: ''}", "server.host must not be empty"),
        ("server: {body_timeout_s: 0}", "server.body_timeout_s must be more than 0"),
        ("server: {body_timeout_s: soon}", "server.body_timeout_s must be a number"),
        ("server: {request_body_bytes_max: 0}", "must be more than 0"),
        ("server: [1]", "server must be a mapping of keys"),
        ("state: [1]", "state must be a mapping of keys"),
        ("state: {directory: 7}", "state.directory must be a path"),
        ("state: {directory: ''}", "state.directory must not be empty"),
        ("state: {database: 7}", "state.database must be text; put it in quotes"),
        ("auth: 7", "auth must be a mapping of keys"),
        ("providers: {openai: [1]}", "providers.openai must be a mapping of keys"),
        ("providers: {lab: {base_url: 7}}", "providers.lab.base_url must be text; put it in quotes"),
        ("providers: {lab: {headers: [a]}}", "providers.lab.headers must be a mapping of names"),
        ("providers: {lab: {forward_headers: [7]}}", "providers.lab.forward_headers[0] must be text; put it in quotes"),
        ("providers: {lab: {api_key: schlüssel}}", "holds a character that no header can carry"),
        ("local: {models: {q: {model: m, args: [a]}}}", "local.models.q.args must be a mapping of names"),
        ("cache: {exact: {enabled: 3}}", "cache.exact.enabled must be true or false"),
        ("cache: {exact: {scope: world}}", "cache.exact.scope must be 'key', 'team' or 'organization'"),
        ("cache: {exact: {temperature_max: 2.5}}", "cache.exact.temperature_max must be at most 2"),
        ("providers: [openai]", "providers must be a mapping of names"),
        ("providers: {lab: {api_key: 123}}", "providers.lab.api_key must be text; put it in quotes"),
        ("providers: {lab: {api_key: ''}}", "providers.lab.api_key must not be empty"),
        (
            "providers: {lab: {api_key: a, api_keys: [{key: b}]}}",
            "providers.lab has both api_key and api_keys; keep one",
        ),
        ("providers: {lab: {api_keys: [{weight: 1}]}}", "providers.lab.api_keys[0].key is missing"),
        ("providers: {lab: {api_keys: [{key: a, weight: 0}]}}", "providers.lab.api_keys[0].weight must be at least 1"),
        ("providers: {lab: {concurrency_max: 0}}", "providers.lab.concurrency_max must be at least 1"),
        ("providers: {lab: {headers: {'a b': c}}}", "a header name with a character that no header may have"),
        ("providers: {lab: {headers: {Content-Length: '1'}}}", "names the header content-length, which Turnpike sets"),
        ('providers: {lab: {headers: {a: "b\\r\\nc: d"}}}', "providers.lab.headers.a holds a line break"),
        ("providers: {lab: {forward_headers: [Authorization]}}", "which is meant for Turnpike and never forwarded"),
        ("providers: {lab: {forward_headers: [x-turnpike-tags]}}", "which is meant for Turnpike and never forwarded"),
        ("providers: {lab: {forward_headers: [te]}}", "names the header te, which Turnpike sets itself"),
        ("providers: {lab: {base_url: 'ftp://x/v1'}}", "base_url must be an http:// or https:// address"),
        ("providers: {lab: {base_url: 'lab.test/v1'}}", "base_url must be an http:// or https:// address"),
        ("providers: {lab: {base_url: 'http://'}}", "base_url must be an http:// or https:// address"),
        ("providers: {lab: {base_url: 'http://h:99999'}}", "base_url is not a URL"),
        ("providers: {lab: {base_url: 'http://[::1'}}", "base_url is not a URL"),
        ("providers: {lab: {base_url: 'http://u:p@h'}}", "must not carry a user or a password"),
        ("providers: {lab: {base_url: 'http://h/v1?a=b'}}", "must end with the path, without ? or #"),
        ('providers: {lab: {base_url: "http://h/v1\\n"}}', "base_url holds a line break"),
        ("providers: {lab: {}}", "t.yaml:1: providers.lab needs a base_url (known without one: openai)"),
        ("providers: {local: {base_url: 'http://h'}}", "providers.local is a name that Turnpike uses itself"),
        ("providers: {a/b: {base_url: 'http://h'}}", "providers.a/b must be letters, digits, dot, dash"),
        ("local: {models: {'a b': {model: m}}}", "local.models.a b must be letters, digits"),
        ("local: {models: {q: {}}}", "local.models.q.model is missing"),
        ("local: {models: {q: {model: m, start: never}}}", "must be 'on_demand' or 'eager'"),
        ("local: {command: []}", "local.command must have at least 1 entries"),
        ("models: {a: []}", "models.a has no deployment; add one"),
        (
            LAB + "models: {a: [{provider: lab, model: m, weight: 0}]}",
            "models.a has no deployment with a weight above 0",
        ),
        (LAB + "models: {a: [{provider: lab, model: m, weight: -1}]}", "models.a[0].weight must be at least 0"),
        (LAB + "models: {a: [{provider: lab}]}", "t.yaml:2: models.a[0].model is missing"),
        (LAB + "models: {' a': [{provider: lab, model: m}]}", "must be printable ASCII"),
        (
            LAB + "models: {a: [{provider: lap, model: m}]}",
            'names an unknown provider; add providers.lap, or: did you mean "lab"?',
        ),
        (LAB + "models: {a: [{provider: openai, model: m}]}", "names openai, which is not under providers"),
        (
            LAB + "models: {a: [{provider: local, model: m}]}",
            "models.a[0].model names no local model; add local.models.m",
        ),
        (LAB + "routing: {fallbacks: {a: [b]}}", "routing.fallbacks.a is not a name under models"),
        (
            LAB + "models: {aa: [{provider: lab, model: m}]}\nrouting: {fallbacks: {aa: [ab]}}",
            't.yaml:3: routing.fallbacks.aa[0] is not a name under models; did you mean "aa"?',
        ),
        (LAB + "models: {a: [{provider: lab, model: m}]}\nrouting: {fallbacks: {a: [a]}}", "names the model itself"),
        (LAB + "models: {a: [{provider: lab, model: m}]}\nrouting: {fallbacks: {a: [lab/x, lab/x]}}", "is named twice"),
        (
            LAB + "models: {a: [{provider: lab, model: m}]}\nrouting: {fallbacks: {a: ['lab/']}}",
            "is not a name under models",
        ),
        (LAB + "models: {a: [{provider: lab, model: m}]}\nrouting: {fallbacks: {a: [local/q]}}", "is not a name under"),
    ],
)
def test_a_wrong_value_is_refused_in_words(text: str, message: str) -> None:
    assert any(message in problem for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("{input: -0.1, output: 1}", "price.input must be at least 0"),
        ("{input: 0.0000001, output: 1}", "price.input has more than 6 decimals, which cannot be billed exactly"),
        ("{input: 1e-7, output: 1}", "price.input has more than 6 decimals"),
        ("{input: '0.0000001', output: 1}", "price.input has more than 6 decimals"),
        ("{input: 1, output: 1, request: 0.0000000001}", "price.request has more than 9 decimals"),
        ("{input: 1000001, output: 1}", "price.input must be at most 1000000"),
        ("{input: cheap, output: 1}", "price.input must be an amount in USD, such as 0.60"),
        ("{input: true, output: 1}", "price.input must be an amount in USD"),
        ("{input: [1], output: 1}", "price.input must be an amount in USD"),
        ("{input: 1}", "price.output is missing"),
        ("{input: 1, output: 1, tiers: [{above_input_tokens: 0, input: 1, output: 1}]}", "must be at least 1"),
        (
            f"{{input: 1, output: 1, tiers: [{', '.join(['{above_input_tokens: 9, input: 1, output: 1}'] * 2)}]}}",
            "price has tiers out of order; sort them by above_input_tokens",
        ),
    ],
)
def test_a_price_that_cannot_be_billed_exactly_is_refused(price: str, message: str) -> None:
    found = problems(LAB + f"models: {{a: [{{provider: lab, model: m, price: {price}}}]}}")
    assert any(message in problem for problem in found), found


def test_a_problem_is_told_once() -> None:
    text = "providers: {lab: {base_url: env:GONE, api_key: env:GONE2}}"
    assert [problem.split(" is ")[0] for problem in problems(text)] == [
        "t.yaml:1: providers.lab.base_url",
        "t.yaml:1: providers.lab.api_key",
    ]


def test_what_is_right_is_accepted_in_full() -> None:
    text = """
server: {host: 0.0.0.0, port: 0, header_bytes_max: 8192, client_stall_s: 10, keepalive_s: 1.5}
state: {database: 'sqlite:////var/lib/turnpike/t.db'}
providers:
  lab:
    base_url: HTTP://127.0.0.1:9001/v1/
    api_keys: [{key: a, weight: 2}, {key: b}]
    headers: {X-Team: lab}
    forward_headers: [X-Trace]
    timeouts: {connect_s: 1}
    concurrency_max: 200
local:
  command: [python, -m, vllm]
  models:
    qwen: {model: Qwen/Qwen3-8B, args: {max-model-len: 8192, gpu-memory-utilization: 0.90, enforce-eager: true,
           override: {a: [1, 0.5]}, stop: [a, 2], seed: null}, start: eager}
models:
  chat: [{provider: lab, model: llama/70b, weight: 0, price: {input: 0.6, cached_input: 0.15, output: 0.9,
          tiers: [{above_input_tokens: 1000, input: 1.2, output: 1.8}]}}, {provider: local, model: qwen}]
routing: {fallbacks: {chat: [lab/other, local/qwen], lab/other: [chat]}}
"""
    settings = read(text, "t.yaml", {"HOME": "/"}, KNOWN)
    lab = settings.providers["lab"]
    assert lab.headers == {"x-team": "lab"}
    assert lab.forward_headers == ("x-trace",)
    assert settings.state.database_url == "sqlite:////var/lib/turnpike/t.db"
    assert settings.local.models["qwen"].args == {
        "max-model-len": 8192,
        "gpu-memory-utilization": "0.90",
        "enforce-eager": True,
        "override": '{"a":[1,0.5]}',
        "stop": ("a", "2"),
    }


def test_keys_of_budgets_and_of_retention_are_read() -> None:
    text = """
routing: {over_budget: downgrade}
billing: {database_grace_s: 5, database_down: open}
retention: {requests_days: 7}
"""
    assert problems(text) == []
