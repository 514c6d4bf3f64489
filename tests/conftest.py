"""Fixtures for tests of whole runs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from processes import MEMORY, Zygote


@pytest.fixture(scope="session")
def zygote(kept_folder):
    """A process that forks runs, each into its own process."""
    command = [sys.executable, str(Path(__file__).parent / "helpers" / "zygote.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Zygote(process, kept_folder)
        process.stdin.close()


@pytest.fixture
def folder():
    """A folder in memory if possible, so that nothing waits for a disk."""
    yield from folder_in_memory()


@pytest.fixture(scope="session")
def kept_folder():
    """The same for files that several tests use."""
    yield from folder_in_memory()


@pytest.fixture
def room(tmp_path):
    """Return a function that skips the test if the disk of its folder has fewer free bytes."""

    def require(nbytes):
        free = shutil.disk_usage(tmp_path).free
        if free < nbytes:
            pytest.skip(f"needs {nbytes / 1e9:.0f} GB in {tmp_path}, and {free / 1e9:.1f} GB are free")

    return require


def folder_in_memory():
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="bgone-", ignore_cleanup_errors=True) as path:
        os.chmod(path, 0o755)
        yield Path(path)
