"""What tests of whole runs share."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from processes import MEMORY, Zygote


@pytest.fixture(scope="session")
def zygote(kept_folder):
    """Something that starts runs, each in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "zygote.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Zygote(process, kept_folder)
        process.stdin.close()


@pytest.fixture
def folder():
    """A folder in memory, where there is such: what runs in it need not reach a disk."""
    yield from folder_in_memory()


@pytest.fixture(scope="session")
def kept_folder():
    """Such a folder for what several tests look at."""
    yield from folder_in_memory()


def folder_in_memory():
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="bgone-", ignore_cleanup_errors=True) as path:
        os.chmod(path, 0o755)
        yield Path(path)
