"""Recognize files that contain secrets, by name before they are opened, and by content.

These files are not indexed unless the user's settings include them, because answers quote indexed files verbatim. The
lists follow the rules of gitleaks and GitHub secret scanning, the sensitive files in GitHub's `.gitignore` templates,
and the locations where programs store credentials, histories and conversations. They do not find every secret: a
password inside a source file is indexed.
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
"""File names, lower case. By line: private keys; variables of deployments; credentials stored by tools (six lines) and
by cloud and cluster tools (three); secrets of frameworks; passwords of Java builds; browser profiles and wallets; shell
histories; accounts and conversations of coding agents."""

SECRET_EXTENSIONS = frozenset(
    _WORD.findall(
        """
    key p12 pfx pkcs12 jks jceks bks keystore ppk agekey keytab bek fve kwallet
    kdb kdbx psafe3 agilekeychain opvault keychain keychain-db 1pux
    env tfstate tfvars publishsettings azurepubxml ovpn kubeconfig tblk
    """
    )
)
"""Extensions, lower case. By line: keys and key stores; password managers; variables, Terraform state (which includes
database passwords), and profiles of deployments, clusters and VPNs."""

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
"""Ends of paths, lower case: credentials in a tool's directory, and accounts and histories of coding agents."""

SECRET_PATH_NAMES = frozenset(path.rpartition("/")[2] for path in SECRET_PATHS)

SECRET_STARTS = re.compile(
    r"""
      \.env [-_.~\d] .*                    # variables of a deployment: .env-prod
    | client_secret_ .*                    # OAuth clients of Google
    | kube-?config (?: [-_] [^.]* | .* \.ya?ml )?
    | ssh_host_ [^.]* _key
    | \. [a-z0-9_]+ _history               # .bash_history, .psql_history, .python_history
    | utc-- .*                             # Ethereum wallets
    """,
    re.VERBOSE | re.DOTALL,
)
"""File names, lower case, recognized by their beginning."""

SECRET_ENDS = re.compile(
    r"""
      (?: .* [-_.] )? service[-_]?account .* \.json
    | .* firebase-adminsdk .* \.json
    | (?: gcp | gcloud | google ) [-_] .* (?: key | credentials ) \.json
    | .* \. (?: tfvars\.json | tfstate\.lock\.info | pubxml\.user )
    | .* _ (?: accesskeys | credentials ) \.csv            # downloads of AWS
    | (?: .* [-_.] )? kube-?config (?: \.ya?ml )?
    | [^.]* _ (?: rsa | dsa | ecdsa | ed25519 )            # SSH keys with a custom name
    | .* (?: recovery | backup ) [-_\ ] codes .* \.txt      # of two-factor authentication
    | (?: bitwarden_export | lastpass ) .* \. (?: json | csv )
    """,
    re.VERBOSE | re.DOTALL,
)
"""File names, lower case, that end in one of `ENDINGS`."""

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
"""Paths, lower case, of conversations of coding agents, which quote the files that their tools have read."""

AGENT_DIRECTORIES = ("/.claude/", "/.codex/", "/.gemini/", "/.copilot/", "/.continue/", "/.specstory/")

COMMON_EXTENSIONS = frozenset(
    _WORD.findall(
        "c cc cpp cs css go h hpp html java js jsx kt lua m mjs php pl ps1 py pyi r rb rs rst scala sh sql swift ts tsx"
    )
) - frozenset(name.rpartition(".")[2] for name in SECRET_NAMES)
"""Extensions of source code that skip the other checks; the lists have none of them."""

BACKUP_ENDINGS = frozenset({"bak", "backup", "copy", "old", "orig", "save", "tmp", "swp", "swo"})
"""Extensions of backup copies, which are removed before the checks, like digits and `~`."""

EXAMPLE_WORDS = r"(?:examples?|samples?|template|tmpl|dist|defaults?)"
EXAMPLE_NAME = re.compile(
    rf"(?:.*\.env[-_.](?:.*[-_.])?)?{EXAMPLE_WORDS}(?:\.env|[-_.].*)?"  # of .env.example and sample.env
    rf"|.*[-_.]{EXAMPLE_WORDS}\.(?:json|ya?ml|csv|php|toml)"
    rf"|{EXAMPLE_WORDS}\.(?:tfvars|tfvars\.json)",
    re.DOTALL,
)
"""Example files, with names of variables but without real values."""

TEMPLATE_PATH = re.compile(r".*/templates/.*\.ya?ml", re.DOTALL)
"""Helm charts, which have placeholders for secrets."""

HEAD_CHARACTERS = 8192
"""Length of the examined text; keys in files with another purpose, such as test data, are further down."""

KEY_FILE_SUFFIXES = (".pem", ".crt", ".cer", ".cert", ".asc", ".gpg", ".pub")
"""Extensions of files for keys and certificates, which are examined as a whole."""

PRIVATE_KEY = re.compile(
    r"""
      (?: ^[ \t>|]* | "private_key"\s*:\s*" )  # on a separate line, or in Google's JSON
      -----BEGIN\ (?:[A-Z0-9]+\ ){0,3}PRIVATE\ KEY(?:\ BLOCK)?-----
      (?: \\n | \s | [A-Za-z-]{1,40}:[^\n]{0,200}\n ){0,40}  # headers such as Proc-Type
      [A-Za-z0-9+/=]{32}  # the key; documents may show the markers alone
    """,
    re.VERBOSE | re.MULTILINE,
)

OTHER_KEYS = re.compile(
    r"""
    ^ (?:
        PuTTY-User-Key-File-[123]:
      | AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58} \b
      | untrusted\ comment:\ [^\n]{0,100} secret\ key  # minisign and signify
      | [ \t]{0,40} client-key-data:[ ] [A-Za-z0-9+/=]{32}  # a kubeconfig with any name
      | PrivateKey [ \t]{0,9} = [ \t]{0,9} [A-Za-z0-9+/]{43}=  # WireGuard
    )
    """,
    re.VERBOSE | re.MULTILINE,
)
"""Keys of age, PuTTY, minisign, signify, Kubernetes and WireGuard, each on a separate line."""

KEY_WORDS = ("PuTTY-User-Key-File-", "AGE-SECRET-KEY-1", "secret key", "client-key-data", "PrivateKey")
"""Every match of `OTHER_KEYS` contains one of these, and searching for a word is faster than the pattern."""

LOGINS = {
    ".npmrc": re.compile(r"^[^#;\n]{0,500}_(?:authToken|auth|password)\s*=\s*(?!\$\{)\S", re.MULTILINE),
    ".yarnrc.yml": re.compile(r"^[ ]{0,40}npmAuth(?:Token|Ident):[ ]{0,9}[\"']?(?![\"'$\s])\S", re.MULTILINE),
}
"""Credentials in settings that are indexed without them; `${NPM_TOKEN}` refers to a variable and is harmless."""


def is_secret_path(path: str) -> bool:
    """Return whether a file usually contains secrets, by its directory and name.

    Args:
        path: Relative to the project root, with `/` separators.
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
    """Return whether a file contains a private key or credentials.

    Args:
        path: Relative to the project root; determines which part of the text is examined.
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
