"""Which files hold secrets: by their names, so that the walk need not open them, and by what stands in them.

An index repeats its files word for word, to every program that may ask, so these files stay out of it unless the
owner's settings ask for them. Nothing finds every secret: a password inside a source file is indexed with the file.
"""

import re

SECRET_NAMES = frozenset(
    re.findall(
        r"\S+",
        """
    id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519 id_ed25519_sk id_xmss
    .env .envrc
    .netrc _netrc .pgpass pgpass.conf .my.cnf .mylogin.cnf .htpasswd .pypirc .git-credentials .dockercfg .s3cfg .boto
    .vault-token .terraformrc terraform.rc credentials.tfrc.json rclone.conf .databrickscfg .smbcredentials
    application_default_credentials.json credentials.json client_secret.json client_secrets.json kubeconfig
    """,
    )
)
"""File names, lower case. Line by line: keys for SSH; variables of a deployment; logins that tools keep for their
users (two lines), and those of clouds."""

SECRET_SUFFIXES = tuple(
    re.findall(
        r"\S+",
        """
    .key .p12 .pfx .pkcs12 .jks .jceks .bks .keystore .ppk .agekey
    .kdb .kdbx .psafe3 .agilekeychain .opvault .keychain .keychain-db
    .env .tfstate .tfstate.backup .publishsettings
    /.aws/credentials /.docker/config.json /.kube/config /.cargo/credentials /.cargo/credentials.toml
    /.gem/credentials /.azure/accesstokens.json /gh/hosts.yml
    """,
    )
)
"""Ends of paths, lower case. Line by line: keys and stores of keys; stores of passwords; variables, and what Terraform
remembers, passwords of databases among it; logins in a tool's own directory (two lines)."""

SECRET_PREFIXES = (".env.", "client_secret_")
"""Beginnings of file names, lower case: variables of one deployment, and logins that Google hands out."""

EXAMPLE_NAME = re.compile(
    r"(?:.*\.env\.(?:.*\.)?)?(?:examples?|samples?|template|tmpl|dist|defaults?)(?:\.env|\..*)?", re.DOTALL
)
"""`.env.example` and its like hold names of variables and no values of anybody."""

HEAD_CHARACTERS = 8192
"""Where a key stands in a file that is made for something else, such as a test with its data, it is further down."""

KEY_FILE_SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".asc", ".gpg", ".pub")
"""Files made to hold keys and certificates, which are looked through to their ends."""

PRIVATE_KEY = re.compile(
    r"""
      (?: ^[ \t>|]* | "private_key"\s*:\s*" )  # a line of its own, or Google's JSON
      -----BEGIN\ (?:[A-Z0-9]+\ ){0,3}PRIVATE\ KEY(?:\ BLOCK)?-----
      (?: \\n | \s | [A-Za-z-]{1,40}:[^\n]{0,200}\n ){0,40}  # headers such as Proc-Type
      [A-Za-z0-9+/=]{32}  # the key: a document may show the marks alone
    """,
    re.VERBOSE | re.MULTILINE,
)

NPM_LOGIN = re.compile(r"^[^#;\n]{0,500}_(?:authToken|auth|password)\s*=\s*(?!\$\{)\S", re.MULTILINE)
"""A login in `.npmrc`; `${NPM_TOKEN}` names a variable and gives nothing away."""


def is_secret_path(path: str) -> bool:
    """Tell whether a file is kept for a secret, by where it lies and what it is called.

    Args:
        path: Relative to the project root, `/` separators.
    """
    lowered = f"/{path.lower()}"
    name = lowered.rpartition("/")[2]
    if name not in SECRET_NAMES and not lowered.endswith(SECRET_SUFFIXES) and not name.startswith(SECRET_PREFIXES):
        return False
    return ".env" not in name or not EXAMPLE_NAME.fullmatch(name)


def holds_secret(path: str, text: str) -> bool:
    """Tell whether a file's text is a private key or a login.

    Args:
        path: Relative to the project root; says how much of the text is looked at.
        text: The decoded file.
    """
    lowered = path.lower()
    if lowered.rpartition("/")[2] == ".npmrc":
        return NPM_LOGIN.search(text) is not None
    seen = text if lowered.endswith(KEY_FILE_SUFFIXES) else text[:HEAD_CHARACTERS]
    return "PRIVATE KEY" in seen and PRIVATE_KEY.search(seen) is not None
