"""What is kept of compiled kernels: loaded again, never another signature's, never stale, never an error."""

import importlib.util
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numba
import numpy as np
import pytest

from pipeline.kernels import jit as module
from pipeline.kernels.jit import cache_folder

SOURCE = """
from pipeline.kernels.jit import jit


@jit
def add(one, other):
    return one + other


@jit
def total(values):
    result = values.dtype.type(0)
    for i in range(values.size):
        result = add(result, values[i])
    return result
"""
AT_ONCE = """
import sys
import numpy as np
from kernel_under_test import total
print("ready", flush=True)
sys.stdin.readline()
for name in sys.argv[1:]:
    values = np.array([1, 2, 250]).astype(name)
    assert total(values) == values.sum(dtype=name), name
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder in which numba's caches are."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    cache_folder.cache_clear()
    yield tmp_path / "cache" / "bgone-kernels"
    cache_folder.cache_clear()


@pytest.fixture
def load(tmp_path, root, monkeypatch):
    """Import the kernel above afresh, as a new process would."""
    path = tmp_path / "kernel_under_test.py"
    path.write_text(SOURCE)

    def again():
        spec = importlib.util.spec_from_file_location(path.stem, path)
        loaded = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, loaded)
        spec.loader.exec_module(loaded)
        return loaded.total

    return again


def files(root, ending):
    return sorted(root.rglob(f"*.{ending}"))


def loaded(kernel):
    """Return how many signatures came from the disk."""
    return sum(sum(code.stats.cache_hits.values()) for code in kernel.signatures.values())


def test_what_was_compiled_is_loaded_again(load, root):
    first = load()
    assert first(np.arange(4)) == 6
    assert loaded(first) == 0
    kept = files(root, "nbc")
    assert len(kept) == 1  # not what it calls: that is in it
    again = load()
    assert again(np.arange(5)) == 10
    assert loaded(again) == 1
    assert files(root, "nbc") == kept


def test_no_two_signatures_share_a_file(load, root):
    kernel = load()
    for dtype in ("int64", "float64", "uint8"):
        assert kernel(np.array([1, 2], dtype)) == 3
        assert kernel(np.array([[1, 2]], dtype)[0]) == 3
    assert len(kernel.signatures) == len(files(root, "nbi")) == len(files(root, "nbc")) == 3


def test_processes_that_compile_at_once_get_what_they_asked_for(load, root, tmp_path):
    environ = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }
    dtypes = ["uint8", "int8", "uint16", "int16"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, *order], env=environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for order in (dtypes, dtypes[::-1], dtypes)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.close()
    for process in processes:
        with process:
            assert process.wait() == 0
    kernel = load()
    for name in dtypes:
        image = np.array([1, 2, 250]).astype(name)
        assert kernel(image) == image.sum(dtype=name)
    assert loaded(kernel) == len(dtypes)


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"torn", b"\x80\x04]."])
def test_a_torn_file_is_made_again(load, root, ending, content):
    load()(np.arange(4))
    (path,) = files(root, ending)
    path.write_bytes(content)
    assert load()(np.arange(4)) == 6
    load()(np.arange(4))
    kernel = load()
    assert kernel(np.arange(4)) == 6
    assert loaded(kernel) == 1


def test_a_changed_source_has_another_folder(root, tmp_path, monkeypatch):
    source = tmp_path / "package" / "kernel.py"
    source.parent.mkdir()
    source.write_text("x = 1")
    monkeypatch.setattr(module, "__file__", str(source))
    first = cache_folder()
    source.write_text("x = 2")
    cache_folder.cache_clear()
    assert cache_folder() != first
    assert cache_folder().parent == first.parent == root


def test_few_folders_of_older_versions_are_left(root):
    for number in range(9):
        (root / f"version {number}").mkdir(parents=True)
        os.utime(root / f"version {number}", (number, number))
    root.chmod(0o700)
    folder = cache_folder()
    assert {path.name for path in root.iterdir()} == {folder.name, *(f"version {n}" for n in range(5, 9))}


def test_nowhere_to_write_is_no_error(load, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert cache_folder() is None
    assert load()(np.arange(4)) == 6


@contextmanager
def largest_file(nbytes):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("nbytes", [0, 2000])
def test_a_full_disk_is_no_error(load, root, nbytes):
    cache_folder()
    with largest_file(nbytes):
        assert load()(np.arange(4)) == 6
    assert files(root, "nbc") == []
    load()(np.arange(4))
    kernel = load()
    assert kernel(np.arange(4)) == 6
    assert loaded(kernel) == 1


def test_code_is_kept_where_this_user_alone_can_write(root):
    cache_folder()
    assert root.stat().st_mode & 0o077 == 0
    root.chmod(0o777)
    cache_folder.cache_clear()
    assert cache_folder() is None


def test_the_user_s_cache_is_used_and_else_the_temporary_folder(tmp_path, root, monkeypatch):
    before = numba.config.CACHE_DIR
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache_folder().parent == tmp_path / "mine" / "bgone-kernels"
    (tmp_path / "none").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    cache_folder.cache_clear()
    assert cache_folder().parent == tmp_path / f"bgone-kernels-{os.getuid()}"
    assert before == numba.config.CACHE_DIR


def test_a_bound_kernel_is_the_code_for_its_types(load, root):
    kernel = load()
    for dtype in ("uint8", "float64"):
        values = np.array([1, 2, 250]).astype(dtype)
        assert module.bound(kernel, values)(values) == values.sum(dtype=dtype)
    assert len(kernel.signatures) == len(files(root, "nbc")) == 2
