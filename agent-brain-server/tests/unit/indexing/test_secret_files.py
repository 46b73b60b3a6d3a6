"""What is kept for a secret is known by its name or by its first lines, and what only looks like it is not."""

import time

import pytest

from agent_brain_server.indexing.loader import load_file
from agent_brain_server.indexing.secret_files import holds_secret, is_secret_path
from agent_brain_server.indexing.walker import WalkOptions, walk_files
from agent_brain_server.types import FileStat, Skip, SourceText

MATERIAL = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"


def key(kind: str = "", indent: str = "") -> str:
    """Make what looks like a private key; the marks are put together here, so that this file is none."""
    mark = f"{kind}PRIVATE KEY"
    return f"{indent}-----BEGIN {mark}-----\n{indent}{MATERIAL}{indent}-----END {mark}-----\n"


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".env.local", ".ENV.Production", "deploy/.envrc", "config/production.env", "home/.ssh/id_rsa",
        "id_ed25519", "certs/server.key", "a.P12", "a.pfx", "a.jks", "a.keystore", "vault.kdbx", ".netrc", "_netrc",
        ".pgpass", ".pypirc", ".git-credentials", ".htpasswd", "infra/terraform.tfstate", "terraform.tfstate.backup",
        ".aws/credentials", "home/.aws/credentials", ".docker/config.json", ".kube/config", ".cargo/credentials.toml",
        ".config/gh/hosts.yml", "credentials.json", "client_secret_12.json", "application_default_credentials.json",
    ],
)  # fmt: skip
def test_files_kept_for_a_secret_are_known_by_name(path):
    assert is_secret_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example", ".env.sample", ".env.local.example", ".env.example.local", "example.env", "app.env.template",
        ".env.dist", "sample.env", "environment.py", "env.ts", ".environment/x.py", "id_rsa.pub", "id_rsa_test.py",
        "keys.py", "key", "monkey.md", "credentials.py", "credentials/x.py", "docker/config.json", ".aws/config",
        "config", "aws.credentials.md", "terraform.tf", "netrc.py", "a.pem", "hosts.yml", "src/.envision",
    ],
)  # fmt: skip
def test_what_only_sounds_like_it_is_not(path):
    assert not is_secret_path(path)


PROC_TYPE = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("deploy", key()),
        ("deploy.txt", key("RSA ")),
        ("deploy.txt", key("EC ").replace("\n", "\r\n")),
        ("deploy", "Bag Attributes\n  friendlyName: x\n" + key("ENCRYPTED ")),
        ("deploy", key("RSA ").replace(MATERIAL, PROC_TYPE + MATERIAL)),
        ("key.asc", key("PGP ").replace("KEY-----", "KEY BLOCK-----").replace(MATERIAL, "Version: 1\n\n" + MATERIAL)),
        ("secret.yaml", "data:\n  tls.key: |\n" + key(indent="    ")),
        ("robot.json", '{"type": "x", "private_key": "' + key().replace("\n", "\\n") + '"}'),
        ("chain.pem", "certificate\n" * 5000 + key()),
        (".npmrc", "registry=https://npm.example\n//npm.example/:_authToken=npm_abc\n"),
        ("web/.npmrc", "_password = abc\n"),
    ],
)
def test_files_that_show_a_key_or_a_login_are_known_by_it(path, text):
    assert holds_secret(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("guide.md", "A key begins with -----BEGIN PRIVATE KEY----- and is secret.\n"),
        ("guide.md", "```\n-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n```\n"),
        ("check.py", 'if line == "-----BEGIN RSA PRIVATE KEY-----":\n    raise ValueError\n'),
        ("test_tls.py", "x = 1\n" * 2000 + key()),
        ("server.pem", key().replace("PRIVATE KEY", "CERTIFICATE")),
        ("id.pub", key().replace("PRIVATE", "PUBLIC")),
        (".npmrc", "//npm.example/:_authToken=${NPM_TOKEN}\nsave-exact=true\n"),
        (".npmrc", "; _authToken=abc\n"),
        ("npmrc.md", "_authToken=abc\n"),
    ],
)
def test_files_that_speak_of_keys_are_not(path, text):
    assert not holds_secret(path, text)


@pytest.mark.parametrize(
    "unit", ["-----BEGIN PRIVATE KEY-----\n", "-----BEGIN A B C ", "PRIVATE KEY a:\n", "> > > ", "_auth"]
)
def test_no_text_takes_long_to_look_through(unit):
    text = unit * (1_000_000 // len(unit)) + "PRIVATE KEY"
    began = time.process_time()
    for path in ("a.pem", "a.py", ".npmrc"):
        holds_secret(path, text)
    assert time.process_time() - began < 2


def test_the_walk_leaves_secrets_out_and_counts_them(tmp_path):
    for name in (".env", ".env.example", "id_rsa", "server.p12", "a.py"):
        (tmp_path / name).write_text("words\n")
    found = walk_files(tmp_path, tmp_path, WalkOptions())
    assert [file.path for file in found.files] == [".env.example", "a.py"]
    assert found.skip_counts == {"secret": 3}
    asked = walk_files(tmp_path, tmp_path, WalkOptions(include_patterns=(".env", "/id_rsa")))
    assert (asked.files, asked.skip_counts) == ((), {"secret": 2})
    everything = walk_files(tmp_path, tmp_path, WalkOptions(index_secrets=True))
    assert [file.path for file in everything.files] == [".env", ".env.example", "a.py", "id_rsa"]
    assert everything.skip_counts == {"binary": 1}


def test_the_loader_gives_no_key_unless_it_is_asked_for(tmp_path):
    for name, data in {"a": key().encode(), "b": key().encode("utf-16"), "c": b"\xef\xbb\xbf" + key().encode()}.items():
        (tmp_path / name).write_bytes(data)
        assert load_file(tmp_path, FileStat(name, 1, 1), 10_000) == Skip(name, "secret")
        assert isinstance(load_file(tmp_path, FileStat(name, 1, 1), 10_000, index_secrets=True), SourceText)
