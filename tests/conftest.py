"""What tests of whole runs share."""

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
    """Something that starts runs, each in a process of its own."""
    command = [sys.executable, str(Path(__file__).parent / "helpers" / "zygote.py")]
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


@pytest.fixture
def room(tmp_path):
    """Skip a test that needs more space than there is: `room(bytes)` in its folder on the disk."""

    def ask(nbytes):
        free = shutil.disk_usage(tmp_path).free
        if free < nbytes:
            pytest.skip(f"needs {nbytes / 1e9:.0f} GB in {tmp_path}, and {free / 1e9:.1f} GB are free")

    return ask


def folder_in_memory():
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="bgone-", ignore_cleanup_errors=True) as path:
        os.chmod(path, 0o755)
        yield Path(path)
