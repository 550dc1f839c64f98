"""What a child process is not told."""

from llmdemo.core.secrets import HUB_TOKENS, without_secrets
from llmdemo.runs.command import worker_environment

SECRETS = {
    name: "s3cret"
    for name in (
        "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "OAUTH_CLIENT_SECRET", "WANDB_API_KEY", "AWS_ACCESS_KEY_ID",
        "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DB_PASSWORD", "LLMDEMO_AUTH_FILE", "HUGGINGFACEHUB_API_TOKEN", "openai_api_key",
    )
}  # fmt: skip
PLAIN = {
    "PATH": "/bin",
    "HOME": "/root",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HOME": "/x",
    "LLMDEMO_HOME": "/y",
    "LANG": "C",
}


def test_tokens_keys_and_passwords_stay_here():
    assert without_secrets({**PLAIN, **SECRETS}) == {**PLAIN, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def test_who_asks_the_hub_gets_its_token_and_no_other():
    kept = without_secrets({**PLAIN, **SECRETS}, keep=HUB_TOKENS)
    assert kept.keys() - PLAIN.keys() == set(HUB_TOKENS)


def test_a_worker_gets_none(tmp_path):
    assert "s3cret" not in worker_environment(tmp_path, {}, {**PLAIN, **SECRETS}).values()
