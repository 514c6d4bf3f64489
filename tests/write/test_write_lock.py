"""One writer at a time, and a dead one's lock is no obstacle."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from pipeline.model.errors import RequestError
from pipeline.write.lock import Holder, Lock, holder_of


def write_lock(work, **changes):
    found = Holder.me()
    with open(f"{work}/lock", "w") as file:
        json.dump({**vars(found), **changes}, file)


def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def test_a_second_run_is_refused_by_host_and_process_even_in_the_same_process(tmp_path):
    with (
        Lock(str(tmp_path)),
        pytest.raises(RequestError, match=f"process {os.getpid()} on {socket.gethostname()} is writing"),
    ):
        Lock(str(tmp_path)).__enter__()
    with Lock(str(tmp_path)):
        pass


def test_a_run_of_another_process_is_refused(tmp_path):
    held = f"with Lock({str(tmp_path)!r}): print('held', flush=True); input()"
    code = f"from pipeline.write.lock import Lock\n{held}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RequestError, match=f"process {child.pid} on"):
            Lock(str(tmp_path)).__enter__()
        child.kill()
        child.wait()
        with Lock(str(tmp_path)):
            assert holder_of(str(tmp_path)).pid == os.getpid()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"start": "1"}, id="the number was given to another process"),
        pytest.param({"boot": "another"}, id="the machine was started anew"),
    ],
)
def test_a_dead_runs_lock_is_taken_over(tmp_path, changes):
    write_lock(tmp_path, **changes)
    with Lock(str(tmp_path)):
        assert holder_of(str(tmp_path)).pid == os.getpid()


def test_a_dead_processs_lock_is_taken_over(tmp_path):
    write_lock(tmp_path, pid=dead_pid())
    with Lock(str(tmp_path)):
        assert holder_of(str(tmp_path)).pid == os.getpid()


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"space": "pid:[1]"}])
def test_who_cannot_be_seen_from_here_is_refused_with_the_way_out(tmp_path, changes):
    write_lock(tmp_path, pid=4711, **changes)
    with pytest.raises(RequestError, match=rf"process 4711 .* remove {tmp_path}/lock"):
        Lock(str(tmp_path)).__enter__()
    os.unlink(tmp_path / "lock")
    with Lock(str(tmp_path)):
        pass


@pytest.mark.parametrize("content", [b"", b'{"host": "a"', b"[1]", b'{"host": "a"}'])
def test_a_torn_lock_holds_nothing(tmp_path, content):
    (tmp_path / "lock").write_bytes(content)
    with Lock(str(tmp_path)):
        pass


def test_of_many_that_find_a_dead_ones_lock_one_takes_it(tmp_path):
    write_lock(tmp_path, start="1")
    ready, won, release = threading.Barrier(8), [], threading.Event()

    def take():
        ready.wait()
        try:
            with Lock(str(tmp_path)):
                won.append(1)
                release.wait()
        except RequestError:
            pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    while sum(thread.is_alive() for thread in threads) > 1:
        for thread in threads:
            thread.join(0.01)
    release.set()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_a_lock_whose_folder_is_gone_ends_quietly(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with Lock(str(work)):
        os.unlink(work / "lock")
        work.rmdir()
    assert not work.exists()
