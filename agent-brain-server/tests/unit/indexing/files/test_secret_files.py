"""Recognizing secret files by name and content, and not mistaking others for them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_brain_server.indexing.files.secret_files import holds_secret, is_secret_path
from agent_brain_server.indexing.files.walker import WalkOptions, walk_files
from agent_brain_server.indexing.reading.loader import load_file
from agent_brain_server.types import FileStat, Skip, SourceText

MATERIAL = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"


def key(kind: str = "", indent: str = "") -> str:
    """Return a fake private key; its markers are split, so that this file is not a secret itself."""
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
def test_is_secret_path_common_names(path):
    assert is_secret_path(path)


@pytest.mark.parametrize(
    "path",
    [
        # variables of a deployment
        ".env-prod", ".env_staging", ".env~", ".env.bak", ".env.old", ".env2", ".env.prod.1", "app/.env.test",
        ".dev.vars", ".secrets", "prod.env~", ".envrc.orig",
        # Terraform state
        "terraform.tfvars", "infra/prod.auto.tfvars", "prod.tfvars.json", "x.tfstate",
        "terraform.tfstate.1700000.backup",
        ".terraform.tfstate.lock.info",
        # clusters and clouds
        "kubeconfig", "kubeconfig.yaml", "prod-kubeconfig.yml", "kubeconfig-prod", "kube-config.yaml",
        "prod.kubeconfig", "kubeconfig.prod.yaml", ".dockerconfigjson", "ci/.dockercfg", "credentials.csv",
        "accessKeys.csv", "me_accessKeys.csv", "rootkey.csv", "new_user_credentials.csv", "service-account.json",
        "service_account_prod.json", "serviceAccountKey.json", "my-service-account.json",
        "shop-firebase-adminsdk-x1-99.json", "gcp-key.json", "gcloud-service-key.json", "google-credentials.json",
        ".azure/accessTokens.json", "msal_token_cache.json", "local.settings.json", "a.publishsettings",
        "my.azurePubxml", "rclone.conf", ".boto", ".config/doctl/config.yaml",
        # keys and stores
        "key.ppk", "keys/host.agekey", "sops/age/keys.txt", "deploy_rsa", "github_ed25519", "id_rsa.bak",
        "id_ed25519_sk", "ssh_host_rsa_key", "http.keytab", "vpn/office.ovpn", "secring.gpg", "debug.keystore",
        "vault.1pux", "wallet.dat", "UTC--2016-03-01T00-00-00.0Z--abc", "logins.json", "key4.db", "cookies.txt",
        # histories
        ".bash_history", "home/.zsh_history", ".psql_history", ".python_history", ".node_repl_history", ".lesshst",
        "fish_history", ".Rhistory", "ConsoleHost_history.txt", ".mysql_history~", ".viminfo", ".dbshell",
        # credentials of tools
        ".pgpass", ".my.cnf", ".netrc~", ".pypirc", ".htpasswd", "htpasswd", ".s3cfg", ".git-credentials",
        ".vault_pass", "kaggle.json", ".clasprc.json", ".sentryclirc", "sftp-config.json", ".vscode/sftp.json",
        ".m2/settings.xml", ".gradle/gradle.properties", "android/key.properties", ".dbt/profiles.yml",
        ".bundle/config", ".gem/credentials", "wp-config.php", "config/secrets.yml", ".streamlit/secrets.toml",
        "credentials.xml", ".composer/auth.json", "github-recovery-codes.txt", "Backup-codes-me.txt",
        "bitwarden_export_2024.json", "passwords.csv",
        # coding agents
        ".claude/projects/-home-me-x/0a1b.jsonl", ".claude/.credentials.json", ".claude.json",
        ".claude/history.jsonl", ".codex/sessions/2025/01/02/rollout-1.jsonl", ".codex/auth.json",
        ".gemini/oauth_creds.json", ".gemini/tmp/a1/logs.json", ".aider.chat.history.md", ".aider.input.history",
        ".specstory/history/2025-01.md", ".copilot/session-state/x.json", ".continue/sessions/1.json",
        "task/api_conversation_history.json",
    ],
)  # fmt: skip
def test_is_secret_path_credentials_of_tools(path):
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
def test_is_secret_path_rejects_similar_names(path):
    assert not is_secret_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env-example", ".env_sample", ".env.prod.example", ".env.template", "env.d.ts", "environment.ts",
        ".environment", "environments/prod.py", "env", "key", "docs/env.md", "secrets.md", "secrets.py", "secrets.ts",
        "credentials.ts", "credentials.yaml", "credentials.md", "locales/en/secrets.json", "locales/en/auth.json",
        "auth.json", "charts/x/templates/secrets.yaml", "main.tf", "variables.tf", "example.tfvars",
        "terraform.tfvars.example", "kubeconfig.go", "kubeconfig.md", "kubeconfig_test.py", "kubeconfig.example.yaml",
        "service-account.example.json", "service_account.py", "serviceaccount.yaml", "docs/service-account.md",
        "wp-config-sample.php", "history.py", "bash_history.py", "history.md", "HISTORY.rst", "CHANGELOG.old.md",
        "shell_history.rs", "rsa", "test_rsa.go", "id_rsa.pub", "deploy_rsa.pub", "ssh_host_rsa_key.pub",
        "known_hosts", "authorized_keys", "age.py", "ppk.c", "putty.md", "accesskeys.ts", "access_keys.csv.py",
        "data/customers.csv", "passwords.py", "config.json", ".claude/settings.json", ".claude/commands/review.md",
        ".claude/agents/x.md", "CLAUDE.md", ".codex/config.toml", ".gemini/settings.json", "sessions/a.jsonl",
        "data/train.jsonl", ".npmrc", ".yarnrc.yml", ".bashrc", ".gitconfig", "settings.xml", "gradle.properties",
        "profiles.yml", "hosts.yml", "config/database.yml", "appsettings.json", "package.json", "README.md~",
        "notes.txt.bak", "docker-compose.yml", "x.1", "man/tool.8", "codes.txt", "backup_codes.py",
        "test/recovery-codes.test.ts", "cookies.py", "key.properties.md", "keytab.c", "~", "a~~",
    ],
)  # fmt: skip
def test_is_secret_path_rejects_sources_and_examples(path):
    assert not is_secret_path(path)


@pytest.mark.slow
@given(st.text(max_size=60))
def test_is_secret_path_accepts_any_name(path):
    assert is_secret_path(path) in (True, False)
    assert is_secret_path(f"{path}/.env.production")


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
        (".yarnrc.yml", 'nodeLinker: x\nnpmAuthToken: "abc-123"\n'),
        ("deploy.txt", "# public key: age1x\nAGE-" + "SECRET-KEY-1" + ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2)[:58]),
        ("deploy", "PuTTY-User-" + "Key-File-3: ssh-ed25519\nEncryption: none\n"),
        ("deploy", "untrusted comment: minisign encrypted " + "secret key\nRWRTY0Iy\n"),
        (
            "prod.yaml",
            "users:\n- name: x\n  user:\n    client-key-" + "data: " + "TFMwdExTMUNSVWRKVGlCU1UwRWdVRkpK" + "\n",
        ),
        ("wg0.conf", "[Interface]\nPrivateKey = " + "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk" + "=\n"),
    ],
)
def test_holds_secret_keys_and_credentials(path, text):
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
        (".yarnrc.yml", "npmAuthToken: ${NPM_TOKEN}\n"),
        (".yarnrc.yml", 'npmAuthToken: "${NPM_TOKEN}"\n'),
        ("age.md", "Keys begin with AGE-SECRET-KEY-1 and are secret.\nAGE-SECRET-KEY-1...\n"),
        ("putty.py", 'HEAD = "PuTTY-User-Key-File-2:"\n'),
        ("kube.go", "\tclient-key-data: []byte `json`\n"),
        ("wg.md", "PrivateKey = <your key>\n"),
        ("x.md", "This is the secret key of success.\n"),
    ],
)
def test_holds_secret_rejects_mentions_of_keys(path, text):
    assert not holds_secret(path, text)


@pytest.mark.parametrize(
    "unit",
    [
        "-----BEGIN PRIVATE KEY-----\n",
        "-----BEGIN A B C ",
        "PRIVATE KEY a:\n",
        "> > > ",
        "_auth",
        "PrivateKey \t",
        "\n ",
        "npmAuth",
    ],
)
def test_holds_secret_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit)) + "PRIVATE KEY PrivateKey client-key-data"
    began = time.process_time()
    for path in ("a.pem", "a.py", ".npmrc", ".yarnrc.yml"):
        holds_secret(path, text)
    assert time.process_time() - began < 2


def test_walk_files_skips_and_counts_secrets(tmp_path):
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


def test_load_file_skips_keys_unless_configured(tmp_path):
    for name, data in {"a": key().encode(), "b": key().encode("utf-16"), "c": b"\xef\xbb\xbf" + key().encode()}.items():
        (tmp_path / name).write_bytes(data)
        assert load_file(tmp_path, FileStat(name, 1, 1), 10_000) == Skip(name, "secret")
        assert isinstance(load_file(tmp_path, FileStat(name, 1, 1), 10_000, index_secrets=True), SourceText)
