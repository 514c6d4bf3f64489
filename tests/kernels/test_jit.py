"""The cache of compiled kernels: never an error, never another signature's code, never stale."""

import importlib.util
import sys

import numpy as np
import pytest

from pipeline.kernels import jit as module

SOURCE = """
from pipeline.kernels.jit import jit


@jit
def total(values):
    result = 0
    for i in range(values.size):
        result += values[i]
    return result
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import the kernel above afresh, from a folder of its own, whatever NUMBA_CACHE_DIR says."""
    monkeypatch.setattr(module._Impl, "_locator_classes", [module.InTreeCacheLocator])
    monkeypatch.setattr(module, "_unkept", set())
    path = tmp_path / "kernel_under_test.py"
    path.write_text(SOURCE)

    def again():
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = loaded
        spec.loader.exec_module(loaded)
        return loaded.total

    yield again
    sys.modules.pop(path.stem, None)


def files(tmp_path):
    return sorted(tmp_path.rglob("*.nbc"))


def test_second_process_loads_what_the_first_compiled(load, tmp_path):
    assert load()(np.arange(4)) == 6
    assert len(files(tmp_path)) == 1
    kernel = load()
    assert kernel(np.arange(5)) == 10
    assert sum(kernel.stats.cache_hits.values()) == 1


def test_each_signature_has_a_file_of_its_own(load, tmp_path):
    kernel = load()
    assert kernel(np.arange(4)) == 6
    assert kernel(np.array([0.5, 0.25])) == 0.75
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"torn", b"\x80\x04]."])
def test_torn_file_is_compiled_again(load, tmp_path, content):
    load()(np.arange(4))
    (file,) = files(tmp_path)
    whole = file.stat().st_size
    file.write_bytes(content)
    assert load()(np.arange(4)) == 6
    assert file.stat().st_size == whole


def test_changed_source_is_compiled_again(load, tmp_path, monkeypatch):
    load()(np.arange(4))
    monkeypatch.setattr(module, "_stamp", lambda: "another version")
    kernel = load()
    assert kernel(np.arange(4)) == 6
    assert sum(kernel.stats.cache_misses.values()) == 1


def test_nowhere_to_write_is_no_error(load, tmp_path, monkeypatch):
    monkeypatch.setattr(module._Impl, "_locator_classes", [])
    assert load()(np.arange(4)) == 6
    assert files(tmp_path) == []


def test_full_disk_is_no_error(load, tmp_path, monkeypatch):
    def full(self, key, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._Files, "save", full)
    assert load()(np.arange(4)) == 6
    assert files(tmp_path) == []


def test_last_resort_is_a_private_folder(load, tmp_path, monkeypatch):
    monkeypatch.setattr(module._Impl, "_locator_classes", [module._TemporaryLocator])
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    assert load()(np.arange(4)) == 6
    (file,) = files(tmp_path)
    assert file.parent.stat().st_mode & 0o077 == 0


def test_folder_open_to_others_is_not_used(load, tmp_path, monkeypatch):
    monkeypatch.setattr(module._Impl, "_locator_classes", [module._TemporaryLocator])
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    module._private_folder().chmod(0o777)
    assert load()(np.arange(4)) == 6
    assert files(tmp_path) == []


def test_what_is_not_compiled_is_told_and_not_compiled_where_that_is_not_wanted(load, tmp_path):
    with pytest.raises(module.NotCompiledError), module.only_load():
        load()(np.arange(4))
    assert files(tmp_path) == []
    load()(np.arange(4))
    kernel = load()
    with module.only_load():
        assert kernel(np.arange(5)) == 10
        with pytest.raises(module.NotCompiledError):
            kernel(np.array([0.5]))
    assert kernel(np.array([0.5])) == 0.5


def test_whether_code_is_kept_is_known(load, monkeypatch):
    load()
    assert module.keeps()
    monkeypatch.setattr(module._Impl, "_locator_classes", [])
    kernel = load()
    assert not module.keeps()
    with pytest.raises(module.NotCompiledError), module.only_load():
        kernel(np.arange(4))
    assert kernel(np.arange(4)) == 6
