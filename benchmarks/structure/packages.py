"""Packages and reference implementations of the structure benchmark, which pip and npm fetch into a work directory."""

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

JEDI = "jedi==0.20.1"
TYPESCRIPT = "typescript@5.6.3"  # the last versions with a language service in JavaScript are 5 and 6


@dataclass(frozen=True)
class Package:
    """A pinned package.

    Attributes:
        sources: Directory of its sources in the archive.
    """

    name: str
    version: str
    sources: str

    @property
    def stem(self) -> str:
        """Name of its directory."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


PYTHON_PACKAGES = (
    Package("click", "8.1.8", "click"),
    Package("requests", "2.34.2", "requests"),
    Package("marshmallow", "4.4.0", "marshmallow"),
    Package("jinja2", "3.1.6", "jinja2"),
    Package("werkzeug", "3.1.9", "werkzeug"),
)

TYPESCRIPT_PACKAGES = (
    Package("mobx", "6.13.3", "src"),
    Package("rxjs", "7.8.1", "src"),
    Package("@reduxjs/toolkit", "2.3.0", "src"),
    Package("zod", "4.0.0", "src"),
    Package("@tanstack/query-core", "5.59.0", "src"),
)


def fetch_wheel(package: Package, work: Path) -> Path:
    """Return the sources of a Python package."""
    directory = work / "packages" / package.stem
    if not directory.is_dir():
        download = work / "downloads" / package.stem
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", download, f"{package.name}=={package.version}"], check=True)
        with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
            wheel.extractall(directory)
    return directory / package.sources


def fetch_npm_package(package: Package, work: Path) -> Path:
    """Return the sources of an npm package."""
    directory = work / "packages" / package.stem
    if not directory.is_dir():
        download = work / "downloads"
        download.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", f"{package.name}@{package.version}"], cwd=download, check=True)
        with tarfile.open(download / f"{package.stem}.tgz") as archive:
            archive.extractall(directory.with_suffix(".partial"), filter="data")
        (directory.with_suffix(".partial") / "package").rename(directory)
    return directory / package.sources


def find_sites_with_jedi(package: Package, work: Path, names: int) -> Path:
    """Return the file of the sites that jedi finds; made once."""
    python = work / "jedi" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", work / "jedi"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", JEDI], check=True)
    return _write_sites(package, work, [python, _script("jedi_sites.py"), fetch_wheel(package, work), str(names)])


def find_sites_with_typescript(package: Package, work: Path, names: int) -> Path:
    """Return the file of the sites that the TypeScript language service finds; made once."""
    modules = work / "typescript"
    if not modules.is_dir():
        modules.mkdir(parents=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", modules, TYPESCRIPT], check=True)
    sources = fetch_npm_package(package, work)
    command: list[str | Path] = [
        "env",
        f"NODE_PATH={modules / 'node_modules'}",
        "node",
        _script("typescript_sites.cjs"),
        sources,
    ]
    return _write_sites(package, work, [*command, str(names)])


def _script(name: str) -> Path:
    return Path(__file__).with_name(name)


def _write_sites(package: Package, work: Path, command: list[str | Path]) -> Path:
    path = work / "sites" / f"{package.stem}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        path.write_bytes(done.stdout)
    return path
