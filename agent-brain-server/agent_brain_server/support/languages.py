"""Known languages: their file extensions, file names, interpreters and aliases."""

import difflib

PLAIN_TEXT = "text"
"""The language of text files of unknown type."""

EXTENSION_LANGUAGES: dict[str, str] = {
    **dict.fromkeys(("py", "pyi", "pyw", "pyx", "pxd"), "python"),
    **dict.fromkeys(("js", "jsx", "mjs", "cjs"), "javascript"),
    **dict.fromkeys(("ts", "tsx", "mts", "cts"), "typescript"),
    **dict.fromkeys(("go",), "go"),
    **dict.fromkeys(("rs",), "rust"),
    **dict.fromkeys(("java",), "java"),
    **dict.fromkeys(("c", "h"), "c"),
    **dict.fromkeys(("cc", "cpp", "cxx", "c++", "hh", "hpp", "hxx", "h++", "ipp", "inl", "tpp", "cu", "cuh"), "cpp"),
    **dict.fromkeys(("cs", "csx"), "csharp"),
    **dict.fromkeys(("rb", "rake", "gemspec", "ru", "podspec"), "ruby"),
    **dict.fromkeys(("php", "phtml", "php5"), "php"),
    **dict.fromkeys(("kt", "kts"), "kotlin"),
    **dict.fromkeys(("swift",), "swift"),
    **dict.fromkeys(("scala", "sc", "sbt"), "scala"),
    **dict.fromkeys(("sh", "bash", "zsh", "ksh", "bats", "ebuild"), "shell"),
    **dict.fromkeys(("lua", "rockspec"), "lua"),
    **dict.fromkeys(("hs",), "haskell"),
    **dict.fromkeys(("ex", "exs"), "elixir"),
    **dict.fromkeys(("zig", "zon"), "zig"),
    **dict.fromkeys(("md", "markdown", "mdown", "mkd", "mdx", "qmd", "rmd"), "markdown"),
    **dict.fromkeys(("rst", "rest"), "rst"),
    **dict.fromkeys(("txt", "text"), PLAIN_TEXT),
    **dict.fromkeys(("html", "htm", "xhtml"), "html"),
    **dict.fromkeys(("adoc", "asciidoc"), "asciidoc"),
    **dict.fromkeys(("tex",), "latex"),
    **dict.fromkeys(("org",), "org"),
    **dict.fromkeys(("ipynb",), "notebook"),
    **dict.fromkeys(("pdf",), "pdf"),
    **dict.fromkeys(("css",), "css"),
    **dict.fromkeys(("scss", "sass"), "scss"),
    **dict.fromkeys(("less",), "less"),
    **dict.fromkeys(("json", "jsonc", "json5", "jsonl", "geojson"), "json"),
    **dict.fromkeys(("yaml", "yml"), "yaml"),
    **dict.fromkeys(("toml",), "toml"),
    **dict.fromkeys(("ini", "cfg", "conf", "properties", "editorconfig"), "ini"),
    **dict.fromkeys(("xml", "xsd", "xsl", "xslt", "csproj", "plist", "svg"), "xml"),
    **dict.fromkeys(("sql",), "sql"),
    **dict.fromkeys(("proto",), "protobuf"),
    **dict.fromkeys(("graphql", "gql"), "graphql"),
    **dict.fromkeys(("vue",), "vue"),
    **dict.fromkeys(("svelte",), "svelte"),
    **dict.fromkeys(("pl", "pm"), "perl"),
    **dict.fromkeys(("r",), "r"),
    **dict.fromkeys(("jl",), "julia"),
    **dict.fromkeys(("dart",), "dart"),
    **dict.fromkeys(("groovy", "gradle"), "groovy"),
    **dict.fromkeys(("clj", "cljs", "cljc", "edn"), "clojure"),
    **dict.fromkeys(("erl", "hrl"), "erlang"),
    **dict.fromkeys(("ml", "mli"), "ocaml"),
    **dict.fromkeys(("fs", "fsi", "fsx"), "fsharp"),
    **dict.fromkeys(("vb",), "visualbasic"),
    **dict.fromkeys(("m", "mm"), "objectivec"),
    **dict.fromkeys(("ps1", "psm1", "psd1"), "powershell"),
    **dict.fromkeys(("bat", "cmd"), "batch"),
    **dict.fromkeys(("fish",), "fish"),
    **dict.fromkeys(("vim",), "vim"),
    **dict.fromkeys(("el", "lisp", "scm", "rkt"), "lisp"),
    **dict.fromkeys(("nix",), "nix"),
    **dict.fromkeys(("tf", "tfvars", "hcl"), "terraform"),
    **dict.fromkeys(("cmake",), "cmake"),
    **dict.fromkeys(("mk",), "make"),
    **dict.fromkeys(("asm", "s"), "assembly"),
    **dict.fromkeys(("po", "pot"), "gettext"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    **dict.fromkeys(("diff", "patch"), "diff"),
}
"""File extension, lower case and without the dot, to language."""

NAME_LANGUAGES: dict[str, str] = {
    "dockerfile": "dockerfile",
    "containerfile": "dockerfile",
    "makefile": "make",
    "gnumakefile": "make",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "podfile": "ruby",
    "vagrantfile": "ruby",
    "brewfile": "ruby",
    "jenkinsfile": "groovy",
    "justfile": "make",
    "sconstruct": "python",
    "build.bazel": "python",
    ".bashrc": "shell",
    ".bash_profile": "shell",
    ".profile": "shell",
    ".zshrc": "shell",
    ".gitconfig": "ini",
    ".vimrc": "vim",
}
"""File name, lower case, to language; takes precedence over the extension."""

SHEBANG_LANGUAGES: dict[str, str] = {
    "sh": "shell",
    "bash": "shell",
    "dash": "shell",
    "zsh": "shell",
    "ksh": "shell",
    "bats": "shell",
    "python": "python",
    "pypy": "python",
    "node": "javascript",
    "deno": "typescript",
    "bun": "typescript",
    "ts-node": "typescript",
    "ruby": "ruby",
    "php": "php",
    "lua": "lua",
    "luajit": "lua",
    "perl": "perl",
    "runhaskell": "haskell",
    "elixir": "elixir",
    "fish": "fish",
    "rscript": "r",
    "make": "make",
}
"""Interpreter in a shebang line, without version, to language; used if name and extension are unknown."""

LANGUAGES = frozenset({*EXTENSION_LANGUAGES.values(), *NAME_LANGUAGES.values(), *SHEBANG_LANGUAGES.values()})

LANGUAGE_ALIASES: dict[str, str] = {
    **EXTENSION_LANGUAGES,
    **SHEBANG_LANGUAGES,
    **dict.fromkeys(("golang",), "go"),
    **dict.fromkeys(("python3", "py3", "cython"), "python"),
    **dict.fromkeys(("nodejs", "ecmascript", "javascriptreact"), "javascript"),
    **dict.fromkeys(("typescriptreact",), "typescript"),
    **dict.fromkeys(("c#", "c-sharp", "dotnet"), "csharp"),
    **dict.fromkeys(("f#", "f-sharp"), "fsharp"),
    **dict.fromkeys(("cplusplus", "cuda"), "cpp"),
    **dict.fromkeys(("objc", "objective-c", "obj-c", "objective-c++"), "objectivec"),
    **dict.fromkeys(("vb.net", "visual-basic"), "visualbasic"),
    **dict.fromkeys(("shellscript", "shell-script"), "shell"),
    **dict.fromkeys(("pwsh",), "powershell"),
    **dict.fromkeys(("batchfile", "dos"), "batch"),
    **dict.fromkeys(("elisp", "emacs-lisp", "common-lisp", "scheme", "racket"), "lisp"),
    **dict.fromkeys(("clojurescript",), "clojure"),
    **dict.fromkeys(("viml", "vimscript"), "vim"),
    **dict.fromkeys(("docker", "containerfile"), "dockerfile"),
    **dict.fromkeys(("makefile",), "make"),
    **dict.fromkeys(("jupyter",), "notebook"),
    **dict.fromkeys(("restructuredtext",), "rst"),
    **dict.fromkeys(("plain", "plaintext", "plain-text"), PLAIN_TEXT),
    **{language: language for language in LANGUAGES},
}
"""Name accepted by filters, lower case, to language: its name, extensions, interpreters and common aliases."""


def resolve_language(name: str) -> str | None:
    """Return the language of a name or alias, or `None` if unknown."""
    return LANGUAGE_ALIASES.get(name.strip().lower().removeprefix("."))


def suggest_language(name: str) -> str | None:
    """Return the language with the most similar name or alias, or `None`."""
    close = difflib.get_close_matches(name.strip().lower(), LANGUAGE_ALIASES, n=1)
    return LANGUAGE_ALIASES[close[0]] if close else None


def list_languages() -> str:
    """Return the sorted names of all languages, separated by commas."""
    return ", ".join(sorted(LANGUAGES))
