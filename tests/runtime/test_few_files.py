"""Few files that may be open at a time, and nowhere for temporary ones: told before workers start."""

import errno
import os
import resource
import tempfile

import psutil
import pytest
from processes import CONFIG, config, movie

import pipeline
from pipeline.model.errors import RequestError, StoppedError
from pipeline.runtime.executors.connect import require_files, require_temporary_folder


def set_up(folder, **changes):
    movie(folder)
    return config(folder, CONFIG, **changes)


@pytest.mark.parametrize("files", [64, 128, 256])
def test_threads_need_few(zygote, folder, files):
    ended = zygote.run("run", set_up(folder), limits={"RLIMIT_NOFILE": files})
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("cluster", "workers", "files"), [("local", 4, 64), ("local", 20, 256), ("tcp://127.0.0.1:9", 1, 32)]
)
def test_too_few_for_workers_are_one_line_and_nothing_is_left(zygote, folder, cluster, workers, files):
    made = set_up(folder)
    sets = ["--set", f"compute.cluster={cluster}", "--set", f"compute.workers={workers}"]
    ended = zygote.run("run", made, *sets, "--quiet", limits={"RLIMIT_NOFILE": files})
    assert ended.code == 2, ended.err
    (line,) = ended.err.splitlines()
    assert f"files and connections would be open at a time, and this process may have {files}; allow" in line
    assert sorted(os.listdir(folder)) == ["movie.tif", "run.yaml"]


@pytest.mark.parametrize(("workers", "files"), [(1, 128), (4, 256)])
def test_a_run_that_may_open_as_many_as_are_counted_on_needs_no_more(zygote, folder, workers, files):
    made = set_up(folder)
    sets = ["--set", "compute.cluster=local", "--set", f"compute.workers={workers}"]
    # Forked, as in the tests of workers that die: it is quicker.
    environ = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "fork"}
    ended = zygote.run("run", made, *sets, limits={"RLIMIT_NOFILE": files}, environ=environ)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err


def test_where_it_may_allow_itself_more_it_does():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = psutil.Process().num_fds() + 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        require_files(5)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few, hard)
        require_files(50)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= few + 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def nowhere(folder, monkeypatch):
    """Leave the current folder as the only one that temporary files could go to."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(folder)])
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_workers_do_not_keep_temporary_files_beside_the_users_own(nowhere):
    made = set_up(nowhere)
    with pytest.raises(RequestError, match="no folder for temporary files can be written to; set TMPDIR"):
        pipeline.run(made, sets=["compute.cluster=local"])
    assert sorted(os.listdir(nowhere)) == ["movie.tif", "run.yaml"]


def test_unless_that_is_said(nowhere, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(nowhere))
    require_temporary_folder()


def test_a_full_disk_for_temporary_files_is_one_line(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("distributed.security.tempfile.TemporaryDirectory", refuse)
    with pytest.raises(StoppedError, match=r"could not be started \(.*No space left on device") as caught:
        pipeline.run(set_up(folder), sets=["compute.cluster=local"])
    assert "\n" not in str(caught.value)
