"""Source packages of the tasks: downloaded by pip or npm, checked by hash and unpacked below a work directory."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

PACKAGES = Path(__file__).with_name("packages.toml")
GENERATED = ("*.egg-info", "PKG-INFO")
"""Written by packaging tools; a repository does not have them."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package.

    Attributes:
        registry: "pypi" or "npm".
        leave_out: Directories of the archive that hold build results.
    """

    name: str
    registry: str
    version: str
    sha256: str
    language: str
    leave_out: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """Return the name of its archive and directory without extension."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


def load_packages() -> dict[str, Package]:
    """Return the packages of all sets by name."""
    entries = tomllib.loads(PACKAGES.read_text(encoding="utf-8"))["package"]
    packages = [Package(**{**entry, "leave_out": tuple(entry.get("leave_out", ()))}) for entry in entries]
    return {package.name: package for package in packages}


def fetch_package(package: Package, directory: Path) -> Path:
    """Return the unpacked sources of a package below a directory; download them if needed.

    Raises:
        ValueError: The hash of the downloaded file differs.
    """
    unpacked = directory / package.stem
    if unpacked.is_dir():
        return unpacked
    directory.mkdir(parents=True, exist_ok=True)
    archive = _download(package, directory)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        raise ValueError(f"{archive} is not the expected file: remove it and run this again")
    return _unpack(package, archive, unpacked)


def _download(package: Package, directory: Path) -> Path:
    archive = directory / f"{package.stem}.{'tgz' if package.registry == 'npm' else 'tar.gz'}"
    if archive.exists():
        return archive
    if package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        # build tools may be wheels: pip asks the build system of a source distribution for its metadata
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package.name]
        command = [*pip, "--dest", ".", f"{package.name}=={package.version}"]
    subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return archive


def _unpack(package: Package, archive: Path, unpacked: Path) -> Path:
    partial = unpacked.with_name(f"{unpacked.name}.partial")
    with tarfile.open(archive) as sources:
        if hasattr(tarfile, "data_filter"):  # not in Python 3.11.0 to 3.11.3; its hash says what the archive holds
            sources.extraction_filter = tarfile.data_filter
        sources.extractall(partial)
    (root,) = partial.iterdir()
    for name in package.leave_out:
        shutil.rmtree(root / name)
    for pattern in GENERATED:
        for path in list(root.rglob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    root.rename(unpacked)
    partial.rmdir()
    return unpacked
