"""The one decorator that compiles kernels: no GIL, no checks, kept on disk between processes.

numba's own cache misses three things that a long run on a cluster meets: it stops with an error
where neither the package nor the home folder can be written, two processes that save at once can
swap each other's code, and it does not see a change in a helper of another file. Here each
signature has a file of its own, replaced in one step, and is compiled afresh where any source file
of this package changed or the file cannot be read. A cache that cannot be written is no error.
"""

import contextlib
import contextvars
import functools
import hashlib
import os
import pickle
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast, overload

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator, NullCache
from numba.core.serialize import dumps

P = ParamSpec("P")
R = TypeVar("R")

_may_compile = contextvars.ContextVar("may_compile", default=True)
_unkept: set[str] = set()


class NotCompiledError(Exception):
    """A kernel is not on disk, where nothing should be compiled."""


@contextlib.contextmanager
def only_load() -> Iterator[None]:
    """Load kernels from the disk while this is open, and compile none.

    Raises
    ------
    NotCompiledError
        One is not there.
    """
    token = _may_compile.set(False)
    try:
        yield
    finally:
        _may_compile.reset(token)


def keeps() -> bool:
    """Return whether compiled code is kept on disk; else each process compiles its own."""
    return not _unkept


@functools.lru_cache(maxsize=1)
def _stamp() -> str:
    """Return a digest of numba's version and of every source file that kernels can come from."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _private_folder() -> Path:
    """Return a folder of this user alone under the temporary one.

    Cached code is run when loaded, so a folder that someone else could have prepared is refused.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"bgone-kernels-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owned = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
    if hasattr(os, "getuid") and not owned:
        raise PermissionError(f"{folder} is open to other users")
    return folder


class _TemporaryLocator(InTreeCacheLocator):
    """The last resort: a private folder under the temporary one."""

    def ensure_cache_path(self) -> None:
        self._cache_path = str(_private_folder())
        super().ensure_cache_path()


class _Impl(CompileResultCacheImpl):
    _locator_classes = [*CompileResultCacheImpl._locator_classes, _TemporaryLocator]  # noqa: RUF012 (numba's name)


class _Files:
    """One file per signature and processor."""

    def __init__(self, folder: str, base: str) -> None:
        self._folder = Path(folder)
        self._base = base

    def _path(self, key: object) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def load(self, key: object) -> Any:
        try:
            stamp, data = pickle.loads(self._path(key).read_bytes())
            return pickle.loads(data) if stamp == _stamp() else None
        except (OSError, EOFError, ValueError, TypeError, pickle.UnpicklingError):
            return None  # missing, or torn by a crash: compile it again

    def save(self, key: object, data: Any) -> None:
        path = self._path(key)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}")
        try:
            part.write_bytes(pickle.dumps((_stamp(), dumps(data))))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


class _Cache(FunctionCache):
    _impl_class = _Impl

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        return _or_compile(super().load_overload(sig, target_context), self._name)

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full or vanished disk: the code still serves this process
            super().save_overload(sig, data)


class _NoCache(NullCache):
    def load_overload(self, sig: Any, target_context: Any) -> None:
        return _or_compile(None, "a kernel")


def _or_compile(found: Any, name: str) -> Any:
    if found is None and not _may_compile.get():
        raise NotCompiledError(f"{name} is not compiled yet")
    return found


def _compiled(function: Callable, fastmath: bool) -> Any:
    relaxed = {"reassoc", "contract", "nsz", "arcp"} if fastmath else False  # NaN and infinities still count
    kernel = numba.njit(nogil=True, boundscheck=False, error_model="numpy", fastmath=relaxed)(function)
    if hasattr(kernel, "enable_caching"):  # it is the plain function under NUMBA_DISABLE_JIT
        try:
            kernel._cache = _Cache(function)
        except (RuntimeError, OSError):  # nowhere to write: each process compiles
            kernel._cache = _NoCache()
            _unkept.add(function.__qualname__)
    return kernel


@overload
def jit(function: Callable[P, R], *, fastmath: bool = False) -> Callable[P, R]: ...


@overload
def jit(function: None = None, *, fastmath: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def jit(function: Callable[P, R] | None = None, *, fastmath: bool = False) -> Any:
    """Compile a function with numba when it is first called, once per combination of dtypes.

    Parameters
    ----------
    function : callable
        What numba's nopython mode can compile. It runs without the GIL and without bounds checks,
        and divides as NumPy does.
    fastmath : bool
        Whether floating-point sums may be reordered, which lets them use SIMD. NaN and infinities
        stay what they are.

    Examples
    --------
    >>> @jit
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42
    """
    if function is None:
        return functools.partial(_compiled, fastmath=fastmath)
    return cast(Callable[P, R], _compiled(function, fastmath))
