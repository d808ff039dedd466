"""No secret reaches what is recorded, and what is no secret does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.redact import HIDDEN, clean, is_secret_name

SECRET_NAMES = (
    "token", "HF_TOKEN", "hub_token", "accessToken", "auth.token", "MLFLOW_TRACKING_TOKEN", "api_key", "apiKey",
    "OPENAI_API_KEY", "apikey", "password", "MLFLOW_TRACKING_PASSWORD", "client_secret", "AWS_SECRET_ACCESS_KEY",
    "credentials", "callbacks.upload.private-key", "db.password.value",
)  # fmt: skip
OTHER_NAMES = (
    "data.tokens_per_batch", "model.token_dropout", "tokenizer", "model.image_tokens", "max_new_tokens", "pad_token",
    "eos_token_id", "TOKENIZERS_PARALLELISM", "key", "monkey", "keyboard", "author", "optim.lr", "PWD", "run_name",
)  # fmt: skip
ENVIRONMENT = {"HF_TOKEN": "abcdef123", "SHORT_TOKEN": "on", "HOME": "/home/me"}
# As secrets look: one word of signs that mean nothing to Hydra, addresses or JSON, and that no name here contains.
secrets = st.text("ABCDEFXYZ0123456789", min_size=8, max_size=40)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_of_other_things(name):
    assert not is_secret_name(name)
    assert clean(f"{name}=value") == f"{name}=value"
    assert clean({name: 3}) == {name: 3}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("hub_token=abc seed=1", "hub_token=*** seed=1"),
        ("+callbacks.x={token: abc, user: me}", "+callbacks.x={token: ***, user: me}"),
        ("+x.password='it\\'s me' seed=1", "+x.password=*** seed=1"),
        ("postgresql://user:p@ss@host/db", "postgresql://***@host/db"),
        ("https://host/a?token=abc&page=2", "https://host/a?token=***&page=2"),
        ("https://host/@user", "https://host/@user"),
        ("Bearer abcdef123, said the server", "Bearer ***, said the server"),
        ("cannot read hf_abcdefghijklmnopqrst", "cannot read ***"),
        ("SHORT_TOKEN is on", "SHORT_TOKEN is on"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_texts(text, cleaned):
    assert clean(text, ENVIRONMENT) == cleaned


def test_nested_settings_keep_their_shape():
    config = {"a": {"token": "x", "token_dropout": 0.1, "api_key": None}, "l": ["abcdef123", {"secret": {"b": 1}}]}
    expected = {"a": {"token": HIDDEN, "token_dropout": 0.1, "api_key": None}, "l": [HIDDEN, {"secret": HIDDEN}]}
    assert clean(config, ENVIRONMENT) == expected


@given(
    secrets, st.sampled_from(SECRET_NAMES), st.sampled_from(("{}={}", "+x={{{}: {}}}", '{{"{}": "{}"}}', "{} = '{}'"))
)
def test_a_secret_is_hidden_behind_its_name(secret, name, form):
    assert secret not in clean(f"seed=1 {form.format(name, secret)} b=2", {})


@given(secrets, st.text(), st.text())
def test_a_secret_of_the_environment_is_hidden_anywhere(secret, before, after):
    found = str(clean({"key": [f"{before}{secret}{after}", {secret: secret}]}, {"HF_TOKEN": secret}))
    assert secret not in found


@given(secrets)
def test_a_secret_of_an_address_is_hidden(secret):
    assert secret not in clean(f"tracking_uri=https://me:{secret}@host:5000/path", {})


@given(st.text())
def test_cleaning_again_changes_nothing(text):
    assert clean(clean(text, {}), {}) == clean(text, {})


@given(
    st.dictionaries(
        st.sampled_from(OTHER_NAMES), st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False)
    )
)
def test_settings_without_secrets_stay(config):
    assert clean(config, {}) == config
