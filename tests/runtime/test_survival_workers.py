"""Worker processes, their scheduler and the terminal: whatever befalls them, the same command finishes."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from processes import assert_same, config, go, movie, wait_until

HERE = Path(__file__).parents[1] / "helpers"
CONFIG = """\
input: {path: movie.tif}
steps:
  - white_tophat: {radius: 3}
output:
  path: out.ome.zarr
  chunks: {t: 1, y: 24, x: 48}
compute:
  cluster: local
  workers: 2
  window: {t: 2}
"""
FRAMES = (8, 40, 48)


def set_up(folder, name="here", text=CONFIG):
    place = folder / name
    place.mkdir()
    movie(place, FRAMES)
    return config(place, text)


@pytest.fixture(scope="module")
def expected(kept_folder, zygote):
    """The output of a run that nothing stopped, on threads."""
    made = set_up(kept_folder, "on threads")
    ended = zygote.run("run", made, "--set", "compute.cluster=threads")
    assert ended.code == 0, ended.err
    return made.parent / "out.ome.zarr"


def environ_of(notes, *harm, spawned=False):
    """Return the environment in which workers meet with harm.

    Here they are forked, which takes a hundredth of a second and not three; as users have them, they
    are `spawned`. dask, told to, gives up a worker the moment it dies: a run must not let it.
    """
    return {
        "BGONE_TEST_WORKERS": json.dumps({"harm": list(harm), "notes": str(notes)}),
        "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "0s",
        "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn" if spawned else "fork",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": str(HERE / "worker_harm.py"),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }


def finish(zygote, made, expected):
    """Let the same command finish, on threads since that is quicker, and require what it should give."""
    again = zygote.run("run", made, "--set", "compute.cluster=threads")
    assert again.code == 0, again.err
    assert_finished(made, expected)
    return again


def assert_finished(made, expected):
    assert_same(made.parent / "out.ome.zarr", expected)
    assert sorted(os.listdir(made.parent)) == ["movie.tif", "out.ome.zarr", "run.yaml"]
    assert (made.parent / "movie.tif").read_bytes() == (expected.parent / "movie.tif").read_bytes()


KILLED = {"point": "before write", "nth": 1, "then": "kill", "times": 1}
SEGFAULT = {"point": "after write", "nth": 2, "then": "segfault", "times": 1}
ALL_KILLED = {"point": "before write", "then": "kill", "times": 2}


SPAWNED = [False, pytest.param(True, marks=pytest.mark.slow)]


@pytest.mark.parametrize("spawned", SPAWNED, ids=["forked", "spawned"])
@pytest.mark.parametrize(
    "harm", [[KILLED, SEGFAULT], [ALL_KILLED]], ids=["one killed, one segfault", "all killed at once"]
)
def test_workers_that_die_are_replaced_and_the_run_goes_on(zygote, folder, expected, harm, spawned):
    made = set_up(folder)
    environ = environ_of(folder / "notes", *harm, spawned=spawned)
    ended = zygote.run("run", made, notes=folder / "notes", environ=environ)
    assert ended.code == 0, ended.err
    assert len(list((folder / "notes").glob("harmed.*"))) == 2
    assert "Traceback" not in ended.err
    assert_finished(made, expected)


def test_a_run_ends_where_nothing_starts_its_workers_again(zygote, folder, expected):
    made = set_up(folder)
    environ = environ_of(folder / "notes", ALL_KILLED)
    patch = {
        "pipeline.runtime.executors.cluster.RESTART_SECONDS": 1,
        "distributed.nanny.Nanny._on_worker_exit_sync": None,
    }
    ended = zygote.run("run", made, notes=folder / "notes", environ=environ, patch=patch)
    assert ended.code == 3, ended.err
    assert "the worker processes have ended and cannot be started again" in ended.err
    assert "Traceback" not in ended.err
    finish(zygote, made, expected)


def test_workers_that_do_not_end_in_time_are_ended(zygote, folder, expected):
    made = set_up(folder)
    patch = {"pipeline.runtime.executors.connect.CLOSE_SECONDS": 0}
    pid = zygote.start("run", made, notes=folder / "notes", environ=environ_of(folder / "notes"), patch=patch)
    assert zygote.wait(pid).code == 0
    wait_until(lambda: not psutil.pid_exists(pid) and not in_group(pid))
    assert_finished(made, expected)


def in_group(number):
    """Return the processes of a group."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_a_worker_out_of_memory_stops_the_run(zygote, folder, expected):
    made = set_up(folder)
    harm = {"point": "before write", "path": "/0/c/5", "then": "memory"}
    ended = zygote.run("run", made, notes=folder / "notes", environ=environ_of(folder / "notes", harm))
    assert ended.code == 3, ended.err
    assert "a worker ran out of memory; set compute.memory or compute.workers lower" in ended.err
    assert "Traceback" not in ended.err
    finish(zygote, made, expected)


def test_a_block_that_kills_every_worker_stops_the_run(zygote, folder, expected):
    made = set_up(folder)
    harm = {"point": "before write", "path": "/0/c/5", "then": "kill"}
    environ, patch = (
        environ_of(folder / "notes", harm),
        {"pipeline.runtime.executors.connect.ALLOWED_FAILURES": 1},
    )
    ended = zygote.run("run", made, notes=folder / "notes", environ=environ, patch=patch)
    assert ended.code == 3, ended.err
    assert "workers were lost" in ended.err
    assert "Traceback" not in ended.err
    finish(zygote, made, expected)


@pytest.mark.slow  # forked ones may keep each other's pipes open, and so alive
def test_when_the_driver_is_killed_its_workers_end_too(zygote, folder, expected):
    made = set_up(folder)
    environ = environ_of(folder / "notes", {"point": "before write", "then": "hold"}, spawned=True)
    pid = zygote.start("run", made, notes=folder / "notes", environ=environ)
    workers = [psutil.Process(worker) for worker in zygote.reached(pid, 2)]
    os.kill(pid, signal.SIGKILL)
    assert zygote.wait(pid).code == -9
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    finish(zygote, made, expected)


def marked(mark):
    """Return the processes that have a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("BGONE_TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("born", [1, 2, 3])
def test_a_driver_that_is_killed_while_it_starts_leaves_no_process_behind(folder, expected, born):
    """Killed when the first process of its own is there (what tidies up after the others), or a worker."""
    made, mark = set_up(folder), f"{os.getpid()}-{born}"
    command = [sys.executable, "-m", "pipeline", "run", str(made)]
    with subprocess.Popen(
        command, env={**os.environ, "BGONE_TEST_MARK": mark}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as driver:
        wait_until(lambda: driver.poll() is not None or len(marked(mark)) > born)
        driver.kill()
        driver.communicate()
    assert driver.returncode == -9
    wait_until(lambda: not marked(mark))
    assert not (made.parent / "out.ome.zarr").exists()


ONE_TASK_A_WINDOW = CONFIG.replace("{t: 2}", "{t: 1}")
"""Two workers that hold are then in two windows. Of two tasks in one window, the driver may get the
signal before it has given out the second window, and keeps the first alone."""

TWO_WINDOWS = {"pipeline.runtime.executors.cluster.TASKS_A_THREAD": 1}
"""So many of them are under way."""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 3), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_to_the_driver_keeps_what_workers_do(zygote, folder, expected, number, code):
    made = set_up(folder, text=ONE_TASK_A_WINDOW)
    environ = environ_of(folder / "notes", {"point": "before write", "then": "hold"})
    pid = zygote.start("run", made, notes=folder / "notes", environ=environ, patch=TWO_WINDOWS)
    zygote.reached(pid, 2)
    os.kill(pid, number)
    wait_until(lambda: "stopping: what is under way" in (folder / "notes" / "stderr").read_text())
    go(folder / "notes")
    ended = zygote.wait(pid)
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    again = finish(zygote, made, expected)
    assert "6 of 8 windows to do" in again.err


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_ctrl_c_in_a_terminal_reaches_the_driver_alone(zygote, folder, expected, times):
    made = set_up(folder, text=ONE_TASK_A_WINDOW)
    notes = folder / "notes"
    notes.mkdir()
    environ = os.environ | environ_of(notes, {"point": "before write", "then": "hold"}, spawned=True)
    patched = "; ".join(f"{name} = {value}" for name, value in TWO_WINDOWS.items())
    command = (
        f"import pipeline.__main__, pipeline.runtime.executors.cluster; {patched}; pipeline.__main__.start()"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(made.parent)
        os.execvpe(sys.executable, [sys.executable, "-c", command, "run", "run.yaml"], environ)
    shown = b""
    reached = notes / "reached"
    wait_until(lambda: ended(pid) or (reached.exists() and len(reached.read_text().split()) == 2))
    for _ in range(times):
        os.write(terminal, b"\x03")
        while b"stopping: what is under way" not in shown:
            shown += os.read(terminal, 1000)
    if times == 1:
        go(notes)
    shown += rest_of(terminal)
    wait_until(lambda: ended(pid))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130, shown.decode()
    assert b"Traceback" not in shown
    assert b"error: interrupted; the same command goes on from here" in shown
    again = finish(zygote, made, expected)
    assert f"{8 - 2 * (times == 1)} of 8 windows to do" in again.err


def ended(pid):
    """Return whether a child of this process has ended; it can still be waited for."""
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def rest_of(terminal):
    shown = b""
    while True:
        try:
            part = os.read(terminal, 1000)
        except OSError:  # Linux says so where the other end is closed
            return shown
        if not part:
            return shown
        shown += part


@pytest.fixture
def scheduler(zygote, folder):
    """A scheduler and one worker, each a process of its own, and what the worker may meet with."""
    notes, file, started = folder / "notes", folder / "scheduler.json", []

    def start(*harm):
        where = ["--host", "127.0.0.1", "--no-dashboard"]
        started.append(
            zygote.start(*where, "--port", "0", "--scheduler-file", file, program="scheduler", notes=notes)
        )
        (notes / "other").write_text(str(started[0]))
        wait_until(lambda: file.exists() or zygote.code(started[0]) is not None)
        options = [
            *where,
            "--no-nanny",
            "--nthreads",
            "1",
            "--death-timeout",
            "60",
            "--local-directory",
            notes,
        ]
        started.append(
            zygote.start(
                "--scheduler-file", file, *options, program="worker", notes=notes / "worker",
                environ=environ_of(notes, *harm),
            )
        )  # fmt: skip
        return file, *started

    yield start
    for pid in started:
        zygote.kill(pid)


def test_a_scheduler_that_is_killed_stops_the_run(zygote, folder, expected, scheduler):
    made = set_up(folder)
    file, _, _ = scheduler({"point": "before write", "path": "/0/c/5", "then": "kill other"})
    ended = zygote.run("run", made, "--set", f"compute.cluster={file}")
    assert ended.code == 3, ended.err
    assert "the same command goes on" in ended.err
    assert "Traceback" not in ended.err
    finish(zygote, made, expected)


def test_a_straggler_of_a_killed_run_changes_nothing(zygote, folder, expected, scheduler):
    made = set_up(folder)
    notes = folder / "notes"
    file, _, worker = scheduler({"point": "before write", "path": "/0/c/5", "then": "hold"})
    pid = zygote.start("run", made, "--set", f"compute.cluster={file}", notes=notes / "driver")
    held(zygote, pid, worker, notes)
    os.kill(pid, signal.SIGKILL)
    assert zygote.wait(pid).code == -9
    before = len((notes / "tasks").read_text().split())
    again = zygote.run("run", made, "--set", "compute.cluster=threads")
    assert again.code == 0, again.err
    go(notes)
    wait_until(lambda: len((notes / "tasks").read_text().split()) > before)
    assert_finished(made, expected)


def test_a_run_whose_driver_was_killed_goes_on_on_the_same_cluster(zygote, folder, expected, scheduler):
    """What the killed one has left with the scheduler hinders neither the next one nor workers that come."""
    made = set_up(folder)
    notes = folder / "notes"
    file, _, worker = scheduler({"point": "before write", "path": "/0/c/5", "then": "hold"})
    pid = zygote.start("run", made, "--set", f"compute.cluster={file}", notes=notes / "driver")
    held(zygote, pid, worker, notes)
    os.kill(pid, signal.SIGKILL)
    assert zygote.wait(pid).code == -9
    go(notes)
    options = ["--no-dashboard", "--no-nanny", "--nthreads", "1", "--local-directory", notes]
    more = zygote.start("--scheduler-file", file, *options, program="worker", notes=notes / "more")
    said = notes / "more" / "stderr"
    try:
        wait_until(lambda: said.exists() and "Registered to:" in said.read_text())
        again = zygote.run("run", made, "--set", f"compute.cluster={file}")
    finally:
        zygote.kill(more)
    assert again.code == 0, again.err
    assert "left out" not in again.err
    assert_finished(made, expected)


def test_a_cluster_that_loses_its_last_worker_is_waited_for(zygote, folder, expected, scheduler):
    made = set_up(folder)
    notes = folder / "notes"
    file, _, worker = scheduler({"point": "before write", "path": "/0/c/5", "then": "hold"})
    patch = {"pipeline.runtime.executors.workers.ASK_SECONDS": 0}
    pid = zygote.start("run", made, "--set", f"compute.cluster={file}", patch=patch, notes=notes / "driver")
    held(zygote, pid, worker, notes)
    os.kill(worker, signal.SIGKILL)
    said = notes / "driver" / "stderr"
    wait_until(lambda: "the cluster has no worker: waiting for one" in said.read_text())
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: "once more stops at once" in said.read_text())
    os.kill(pid, signal.SIGINT)
    assert zygote.wait(pid).code == 130
    finish(zygote, made, expected)


def held(zygote, driver, worker, notes):
    """Wait until a worker holds at its point, while it and the driver live."""

    def holding():
        for pid in (driver, worker):
            assert zygote.code(pid) is None, (zygote.notes[pid] / "stderr").read_text()
        return (notes / "reached").exists()

    wait_until(holding)
