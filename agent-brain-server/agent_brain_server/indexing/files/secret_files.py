"""Recognize files that hold secrets: by their names, so that the walk need not open them, and by their content.

An index repeats its files word for word to every program that may ask, so these files stay out of it unless the
user's settings include them. The lists follow what gitleaks and GitHub's secret scanning look for, what GitHub's
`.gitignore` templates leave out as sensitive, and where programs keep logins, histories and conversations. No list
finds every secret: a password inside a source file is indexed with the file.
"""

import re

_WORD = re.compile(r"\S+")

SECRET_NAMES = frozenset(
    _WORD.findall(
        """
    id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519 id_ed25519_sk id_xmss otr.private_key secring.gpg
    .env .envrc .dev.vars .secrets
    .netrc _netrc .pgpass pgpass.conf .pg_service.conf .my.cnf .mylogin.cnf .cqlshrc .htpasswd htpasswd .git-credentials
    .pypirc .vault-token .vault_pass .vault-pass .vault_password .sentryclirc .clasprc.json .wakatime.cfg kaggle.json
    .ftpconfig .remote-sync.json sftp-config.json filezilla.xml recentservers.xml sitemanager.xml winscp.ini
    .dbeaver-data-sources.xml credentials-config.json datasources.local.xml
    .esmtprc .fetchmailrc .msmtprc .muttrc .smbcredentials .passwd-s3fs .databrickscfg .s3cfg .boto rclone.conf
    .dockercfg .dockerconfigjson .terraformrc terraform.rc credentials.tfrc.json kubeconfig
    application_default_credentials.json credentials.json client_secret.json client_secrets.json credentials.db
    access_tokens.db azureauth.json msal_token_cache.json msal_token_cache.bin local.settings.json
    credentials.csv credentials.ini credentials.toml credentials.xml accesskeys.csv rootkey.csv
    secrets.toml secrets.yaml secrets.yml secret_token.rb wp-config.php localsettings.php
    keystore.properties key.properties settings-security.xml
    key3.db key4.db logins.json signons.sqlite cookies.sqlite cookies.txt wallet.dat passwords.csv
    .sh_history .histfile .history .zhistory .lesshst .viminfo .rhistory .dbshell fish_history consolehost_history.txt
    .claude.json .aider.chat.history.md .aider.input.history .aider.llm.history api_conversation_history.json
    """
    )
)
"""File names, lower case. Line by line: private keys; variables of a deployment; logins that tools keep for their users
(six lines); those of clouds and clusters (three); secrets of frameworks; passwords of Java builds; what browsers
and wallets keep; histories of shells; accounts and conversations of coding agents."""

SECRET_EXTENSIONS = frozenset(
    _WORD.findall(
        """
    key p12 pfx pkcs12 jks jceks bks keystore ppk agekey keytab bek fve kwallet
    kdb kdbx psafe3 agilekeychain opvault keychain keychain-db 1pux
    env tfstate tfvars publishsettings azurepubxml ovpn kubeconfig tblk
    """
    )
)
"""Extensions, lower case. Line by line: keys and stores of keys; stores of passwords; variables, what Terraform
remembers, passwords of databases included, and profiles of deployments, clusters and networks."""

SECRET_PATHS = tuple(
    _WORD.findall(
        """
    /.aws/credentials /.docker/config.json /.kube/config /containers/auth.json /doctl/config.yaml /.fly/config.yml
    /.azure/accesstokens.json /.azure/azureprofile.json /.mc/config.json /.dbt/profiles.yml /.snowsql/config
    /.cargo/credentials /.gem/credentials /.bundle/config /.m2/settings.xml /.gradle/gradle.properties
    /.composer/auth.json /.config/composer/auth.json /.sbt/credentials /.ivy2/.credentials /.huggingface/token
    /gh/hosts.yml /.config/hub /glab-cli/config.yml /github-copilot/hosts.json /github-copilot/apps.json
    /.circleci/cli.yml /.ngrok2/ngrok.yml /ngrok/ngrok.yml /configstore/firebase-tools.json /.vscode/sftp.json
    /sops/age/keys.txt /.wrangler/config/default.toml /.purple/accounts.xml /etc/shadow
    /.claude/.credentials.json /.claude/history.jsonl /.codex/auth.json /.codex/history.jsonl /.gemini/oauth_creds.json
    /opencode/auth.json /.continue/config.json
    """
    )
)
"""Ends of paths, lower case: logins in a tool's own directory, and accounts and histories of coding agents."""

SECRET_PATH_NAMES = frozenset(path.rpartition("/")[2] for path in SECRET_PATHS)

SECRET_STARTS = re.compile(
    r"""
      \.env [-_.~\d] .*                    # variables of one deployment: .env-prod
    | client_secret_ .*                    # logins that Google hands out
    | kube-?config (?: [-_] [^.]* | .* \.ya?ml )?
    | ssh_host_ [^.]* _key
    | \. [a-z0-9_]+ _history               # .bash_history, .psql_history, .python_history
    | utc-- .*                             # wallets of Ethereum
    """,
    re.VERBOSE | re.DOTALL,
)
"""File names, lower case, that are known by how they begin."""

SECRET_ENDS = re.compile(
    r"""
      (?: .* [-_.] )? service[-_]?account .* \.json
    | .* firebase-adminsdk .* \.json
    | (?: gcp | gcloud | google ) [-_] .* (?: key | credentials ) \.json
    | .* \. (?: tfvars\.json | tfstate\.lock\.info | pubxml\.user )
    | .* _ (?: accesskeys | credentials ) \.csv            # as AWS offers them for download
    | (?: .* [-_.] )? kube-?config (?: \.ya?ml )?
    | [^.]* _ (?: rsa | dsa | ecdsa | ed25519 )            # keys for SSH with a name of their own
    | .* (?: recovery | backup ) [-_\ ] codes .* \.txt      # of two-factor authentication
    | (?: bitwarden_export | lastpass ) .* \. (?: json | csv )
    """,
    re.VERBOSE | re.DOTALL,
)
"""File names, lower case, with one of the endings below."""

ENDINGS = (".json", ".csv", ".txt", ".yaml", ".yml", ".info", ".user", "config", "_rsa", "_dsa", "_ecdsa", "_ed25519")

CONVERSATIONS = re.compile(
    r"""
    .*/ (?:
        \.claude/projects/ .* \.jsonl
      | \.codex/ (?: archived_ )? sessions/ .* \.jsonl
      | \.gemini/tmp/ .* \.json
      | \.copilot/ (?: history- )? session-state/ .*
      | \.continue/sessions/ .* \.json
      | \.specstory/history/ .* \.md
    )
    """,
    re.VERBOSE | re.DOTALL,
)
"""Whole paths, lower case: conversations of coding agents, which repeat whatever their tools have read."""

AGENT_DIRECTORIES = ("/.claude/", "/.codex/", "/.gemini/", "/.copilot/", "/.continue/", "/.specstory/")

COMMON_EXTENSIONS = frozenset(
    _WORD.findall(
        "c cc cpp cs css go h hpp html java js jsx kt lua m mjs php pl ps1 py pyi r rb rs rst scala sh sql swift ts tsx"
    )
) - frozenset(name.rpartition(".")[2] for name in SECRET_NAMES)
"""Extensions of sources, which are spared the other checks: no list has them, but for those of `SECRET_NAMES`."""

BACKUP_ENDINGS = frozenset({"bak", "backup", "copy", "old", "orig", "save", "tmp", "swp", "swo"})
"""What editors and people add, after a dot, to the name of a file that they keep a copy of; so are digits and `~`."""

EXAMPLE_WORDS = r"(?:examples?|samples?|template|tmpl|dist|defaults?)"
EXAMPLE_NAME = re.compile(
    rf"(?:.*\.env[-_.](?:.*[-_.])?)?{EXAMPLE_WORDS}(?:\.env|[-_.].*)?"  # of .env.example and sample.env
    rf"|.*[-_.]{EXAMPLE_WORDS}\.(?:json|ya?ml|csv|php|toml)"
    rf"|{EXAMPLE_WORDS}\.(?:tfvars|tfvars\.json)",
    re.DOTALL,
)
"""Files that show the names of variables, and no values that are in use."""

TEMPLATE_PATH = re.compile(r".*/templates/.*\.ya?ml", re.DOTALL)
"""Charts of Helm: what will be a secret is a placeholder in them."""

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

OTHER_KEYS = re.compile(
    r"""
    ^ (?:
        PuTTY-User-Key-File-[123]:
      | AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58} \b
      | untrusted\ comment:\ [^\n]{0,100} secret\ key  # minisign and signify
      | [ \t]{0,40} client-key-data:[ ] [A-Za-z0-9+/=]{32}  # a kubeconfig by any name
      | PrivateKey [ \t]{0,9} = [ \t]{0,9} [A-Za-z0-9+/]{43}=  # WireGuard
    )
    """,
    re.VERBOSE | re.MULTILINE,
)
"""Keys of age, PuTTY, minisign, Kubernetes and WireGuard, each on a separate line."""

KEY_WORDS = ("PuTTY-User-Key-File-", "AGE-SECRET-KEY-1", "secret key", "client-key-data", "PrivateKey")
"""One of these is in every text that `OTHER_KEYS` matches; looking for a word costs less than the pattern."""

LOGINS = {
    ".npmrc": re.compile(r"^[^#;\n]{0,500}_(?:authToken|auth|password)\s*=\s*(?!\$\{)\S", re.MULTILINE),
    ".yarnrc.yml": re.compile(r"^[ ]{0,40}npmAuth(?:Token|Ident):[ ]{0,9}[\"']?(?![\"'$\s])\S", re.MULTILINE),
}
"""Logins in settings that are worth indexing without one; `${NPM_TOKEN}` names a variable and gives nothing away."""


def is_secret_path(path: str) -> bool:
    """Return whether a file is one that holds secrets, by its directory and name.

    Args:
        path: Relative to the project root, `/` separators.
    """
    lowered = f"/{path.lower()}"
    name = lowered.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    if extension in COMMON_EXTENSIONS and "/." not in lowered:
        return False
    while name.endswith("~") or (dot and (extension in BACKUP_ENDINGS or extension.isdecimal())):
        name = name[:-1] if name.endswith("~") else stem
        stem, dot, extension = name.rpartition(".")
    lowered = lowered[: lowered.rindex("/") + 1] + name
    if not (
        name in SECRET_NAMES
        or (dot and extension in SECRET_EXTENSIONS)
        or (name in SECRET_PATH_NAMES and lowered.endswith(SECRET_PATHS))
        or SECRET_STARTS.fullmatch(name)
        or (name.endswith(ENDINGS) and SECRET_ENDS.fullmatch(name))
        or ("/." in lowered and any(part in lowered for part in AGENT_DIRECTORIES) and CONVERSATIONS.fullmatch(lowered))
    ):
        return False
    return not EXAMPLE_NAME.fullmatch(name) and not TEMPLATE_PATH.fullmatch(lowered)


def holds_secret(path: str, text: str) -> bool:
    """Return whether a file's text is a private key or a login.

    Args:
        path: Relative to the project root; decides how much of the text is examined.
        text: The decoded file.
    """
    lowered = path.lower()
    login = LOGINS.get(lowered.rpartition("/")[2])
    if login is not None:
        return login.search(text) is not None
    seen = text if lowered.endswith(KEY_FILE_SUFFIXES) else text[:HEAD_CHARACTERS]
    if "PRIVATE KEY" in seen and PRIVATE_KEY.search(seen):
        return True
    return any(word in seen for word in KEY_WORDS) and OTHER_KEYS.search(seen) is not None
