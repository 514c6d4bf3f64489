"""A simulated disk that loses in a power cut what was not synced.

POSIX promises that the content of a file survives after an fsync of the file, and that a new, renamed or
removed name survives after an fsync of its folder. The program writes to a real folder. Each fsync records
the content of the file or folder instead of syncing it.
"""

import itertools
import os
import random
import stat
import threading
from pathlib import Path

# What survives beside the synced data: nothing; all names, with the synced content; a random part of both.
SURVIVES = ("synced", "names", "some")


class VolatileDisk:
    """The synced content of some folders, which begins with all that they contain.

    Parameters
    ----------
    roots : list of str
        The folders. Files outside them are not simulated.
    """

    def __init__(self, roots):
        self.roots = roots
        self._files = {}
        self._folders = {}
        self._pins = {}
        self._renames = {}
        self._exchanged = {}
        self._lock = threading.Lock()
        for root in roots:
            self._record_all(root)

    def install(self):
        """Record every fsync of this process from now on, instead of syncing."""
        os.fsync = self.fsync

    def fsync(self, descriptor):
        """Record the content of a file or folder."""
        descriptor = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        with self._lock:
            self._record(f"/proc/self/fd/{descriptor}")

    def cut_power(self, survives, seed, after):
        """Write what survives of each root into a folder whose name ends in `after`."""
        rng = random.Random(seed)
        with self._lock:
            self._find_exchanges()
            for root in self.roots:
                self._restore(self._key(os.stat(root)), root, f"{root}{after}", survives, rng)

    def _key(self, status):
        return status.st_dev, status.st_ino, stat.S_ISDIR(status.st_mode)

    def _record(self, path):
        status = os.stat(path)
        key = self._key(status)
        self._pin(key, path)
        if key[2]:
            self._folders[key] = self._listing(path)
        else:
            self._files[key] = Path(path).read_bytes()

    def _record_all(self, path):
        self._record(path)
        if os.path.isdir(path):
            for name in os.listdir(path):
                self._record_all(f"{path}/{name}")

    def _listing(self, path):
        names = {}
        for name in os.listdir(path):
            try:
                key = self._key(os.lstat(f"{path}/{name}"))
                self._pin(key, f"{path}/{name}")
            except FileNotFoundError:
                continue
            names[name] = key
        return names

    def _pin(self, key, path):
        # While it is open, no other file can get its inode number.
        if key not in self._pins:
            self._pins[key] = os.open(path, os.O_PATH)

    def _find_exchanges(self):
        """Tie two files that took each other's name: an exchange survives for both of them, or for none."""
        for folder, synced in self._folders.items():
            now = self._listing(f"/proc/self/fd/{self._pins[folder]}")
            for name in synced.keys() & now.keys():
                pair = synced[name], now[name]
                if pair[0] != pair[1]:
                    self._exchanged |= dict.fromkeys(pair, min(pair))

    def _restore(self, key, real, path, survives, rng):
        """Write what survives of a folder."""
        os.mkdir(path)
        synced = self._folders.get(key, {})
        now = {} if survives == "synced" else self._listing(real)
        for name in sorted({*synced, *now}):
            inner = self._surviving_key(synced.get(name), now.get(name), survives, rng)
            if inner is None:
                continue
            source = f"/proc/self/fd/{self._pins[inner]}"
            if inner[2]:
                self._restore(inner, source, f"{path}/{name}", survives, rng)
            else:
                Path(path, name).write_bytes(self._surviving_content(inner, source, survives, rng))

    def _surviving_key(self, before, now, survives, rng):
        """Return the file that a name refers to after the cut: the synced one, or the last one."""
        if now is not None and (now == before or self._name_survives(now, survives, rng)):
            return now
        return before if now is not None or not self._name_survives(before, survives, rng) else None

    def _name_survives(self, key, survives, rng):
        """Return whether changes of a file's names survive: in both folders of a rename, or in none."""
        key = self._exchanged.get(key, key)
        survived = survives == "names" or (survives == "some" and rng.random() < 0.5)
        return self._renames.setdefault(key, survived)

    def _surviving_content(self, key, path, survives, rng):
        synced = self._files.get(key, b"")
        if survives != "some" or rng.random() < 0.5:
            return synced
        now = Path(path).read_bytes()
        # What was synced stays, up to where it was written over.
        least = len(synced) if now.startswith(synced) else 0
        return now[: rng.randint(least, len(now))]


def cut_at(disk, point, survives, after, note):
    """Return a hook for `durable` that cuts the power at the n-th call, and a function for the end.

    `note` is called before the cut, which ends the process with the exit code. At the end
    only synced data survive, because everything that was promised must be there.
    """
    calls = itertools.count()
    first = threading.Lock()

    def cut(code=9, survives="synced"):
        first.acquire()  # never released: other threads wait here for the end
        note()
        disk.cut_power(survives, point, after)
        os._exit(code)

    def hook(event, path):
        if next(calls) == point:
            cut(survives=survives)

    return hook, cut


def come_back(roots, after):
    """Replace each root by what survived of it, and return the folders with the content before the cut."""
    for root in roots:
        os.rename(root, f"{root}.before{after}")
        os.rename(f"{root}{after}", root)
    return [f"{root}.before{after}" for root in roots]
