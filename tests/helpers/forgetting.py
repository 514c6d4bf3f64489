"""A disk that forgets: what would be there after a power cut, of what a program has written to a folder.

POSIX promises as much as this: what a file holds outlives a power cut once the file was synced; that a name
was made, renamed or removed does once its folder was synced. The program goes on in a real folder; each of
its fsyncs is noted with what the file or folder held at that moment, and the disk itself is left in peace.
"""

import itertools
import os
import random
import stat
import threading
from pathlib import Path

SURVIVES = ("synced", "names", "some")
"""What of the rest survives: nothing; all names, of files that hold what was synced of them; some of both."""


class ForgettingDisk:
    """What of some folders is on the disk; all that they hold when this is made.

    Parameters
    ----------
    roots : list of str
        The folders; nothing outside them is forgotten.
    """

    def __init__(self, roots):
        self.roots = roots
        self._files = {}
        self._folders = {}
        self._pins = {}
        self._moves = {}
        self._lock = threading.Lock()
        for root in roots:
            self._keep_all(root)

    def install(self):
        """Note what is synced in this process from now on, instead of syncing it."""
        os.fsync = self.fsync

    def fsync(self, descriptor):
        """Note what a file or folder holds."""
        descriptor = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        with self._lock:
            self._keep(f"/proc/self/fd/{descriptor}")

    def cut_power(self, survives, seed, after):
        """Write what is left of each root into a folder whose name ends in `after`."""
        choose = random.Random(seed)
        with self._lock:
            for root in self.roots:
                self._restore(self._key(os.stat(root)), root, f"{root}{after}", survives, choose)

    def _key(self, found):
        return found.st_dev, found.st_ino, stat.S_ISDIR(found.st_mode)

    def _keep(self, path):
        found = os.stat(path)
        key = self._key(found)
        self._pin(key, path)
        if key[2]:
            self._folders[key] = self._listing(path)
        else:
            self._files[key] = Path(path).read_bytes()

    def _keep_all(self, path):
        self._keep(path)
        if os.path.isdir(path):
            for name in os.listdir(path):
                self._keep_all(f"{path}/{name}")

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
        # As long as it is open, no other file gets its number.
        if key not in self._pins:
            self._pins[key] = os.open(path, os.O_PATH)

    def _restore(self, key, real, path, survives, choose):
        """Write what is left of a folder."""
        os.mkdir(path)
        kept = self._folders.get(key, {})
        now = {} if survives == "synced" else self._listing(real)
        for name in sorted({*kept, *now}):
            inner = self._named(kept.get(name), now.get(name), survives, choose)
            if inner is None:
                continue
            place = f"/proc/self/fd/{self._pins[inner]}"
            if inner[2]:
                self._restore(inner, place, f"{path}/{name}", survives, choose)
            else:
                Path(path, name).write_bytes(self._left_of(inner, place, survives, choose))

    def _named(self, before, now, survives, choose):
        """Return what a name means after the cut, of what it meant on the disk and in the end."""
        if now is not None and (now == before or self._moved(now, survives, choose)):
            return now
        return before if now is not None or not self._moved(before, survives, choose) else None

    def _moved(self, key, survives, choose):
        """Return whether what was done to a file's names survives: a rename is one step in both folders."""
        usual = survives == "names" or (survives == "some" and choose.random() < 0.5)
        return self._moves.setdefault(key, usual)

    def _left_of(self, key, place, survives, choose):
        kept = self._files.get(key, b"")
        if survives != "some" or choose.random() < 0.5:
            return kept
        now = Path(place).read_bytes()
        # What was synced stays, up to where it was written over.
        least = len(kept) if now.startswith(kept) else 0
        return now[: choose.randint(least, len(now))]


def cut_at(disk, point, survives, after, note):
    """Return a hook for `durable` that cuts the power at the n-th place, and what to call at the end.

    `note` is called before that, since the process does not outlive it; the other with the exit code.
    At the end nothing survives that was not synced: all that was promised is to be there.
    """
    calls = itertools.count()
    first = threading.Lock()

    def cut(code=9, survives="synced"):
        first.acquire()  # never given back: whoever else comes here waits for the end
        note()
        disk.cut_power(survives, point, after)
        os._exit(code)

    def hook(what, path):
        if next(calls) == point:
            cut(survives=survives)

    return hook, cut


def come_back(roots, after):
    """Put what is left of each root in its place, and return the folders that held it before."""
    for root in roots:
        os.rename(root, f"{root}.before{after}")
        os.rename(f"{root}{after}", root)
    return [f"{root}.before{after}" for root in roots]
