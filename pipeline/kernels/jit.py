"""The decorator that compiles kernels, and the folder in which numba keeps what it compiled.

numba rewrites the list of a function's signatures without a lock, so two processes that add one each could
get each other's code. Here each signature is to numba a function of a name of its own, with a list of its
own. Only what Python calls is kept: kernels that it calls in turn are compiled into it.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding
from numba.extending import typeof_impl

Function = TypeVar("Function", bound=Callable)

OLD_FOLDERS = 4
"""Folders of other versions of the kernels that are left."""

OWNS_DATA = 4
"""Of an array's flags, the one that compiled code does not depend on."""

_compiling = threading.RLock()


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder for what this numba compiles of these sources for this processor.

    It is in `NUMBA_CACHE_DIR` where that is set, else in the user's cache or the temporary folder; None
    where none of them can be written.
    """
    digest = hashlib.sha256(f"{numba.__version__} {binding.get_host_cpu_name()}".encode())
    digest.update(binding.get_host_cpu_features().flatten().encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    usual = [f"{cache}/bgone-kernels", f"{tempfile.gettempdir()}/bgone-kernels-{os.getuid()}"]
    for root in [f"{numba.config.CACHE_DIR}/bgone-kernels"] if numba.config.CACHE_DIR else usual:
        with contextlib.suppress(OSError):
            _make_private(root)
            folder = Path(root, digest.hexdigest()[:16])
            if not folder.exists():
                _remove_oldest(root)
                folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            return folder
    return None


def _make_private(folder: str) -> None:
    """Make a folder that nobody else can write to, since cached code is run when it is loaded."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.stat(folder, follow_symlinks=False)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is open to other users")


def _remove_oldest(root: str) -> None:
    by_age = sorted(Path(root).iterdir(), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-OLD_FOLDERS]:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _numba_keeps_in(folder: Path) -> Iterator[None]:
    """Set numba's cache folder for what is decorated meanwhile; that of other packages stays theirs."""
    usual, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = usual


class Kernel:
    """A function that is compiled when it is first called, once for each signature; see `jit`.

    Attributes
    ----------
    inner : numba's dispatcher
        What other kernels call.
    signatures : dict
        Tuple of numba's types → compiled function.
    """

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.inner = numba.njit(function, **options)
        self.signatures: dict[tuple, Any] = {}
        self._function = function
        self._options = options
        self._ready: dict[tuple, Any] = {}

    def __call__(self, *args: Any) -> Any:
        """Call the function compiled for these arguments."""
        code = self._ready.get(_kinds(args))
        return (self._prepare(args) if code is None else code)(*args)

    def _prepare(self, args: tuple) -> Any:
        signature = tuple(map(numba.typeof, args))
        with _compiling:
            if signature not in self.signatures:
                self.signatures[signature] = self._load_or_compile(signature)
        self._ready[_kinds(args)] = self.signatures[signature]
        return self.signatures[signature]

    def _load_or_compile(self, signature: tuple) -> Any:
        folder, code = cache_folder(), None
        if folder is not None:
            function = types.FunctionType(self._function.__code__, self._function.__globals__)
            name = hashlib.sha256(f"{folder.name} {signature}".encode()).hexdigest()[:16]
            function.__qualname__ = f"{self._function.__name__}-{name}"
            try:
                with _numba_keeps_in(folder):
                    code = numba.njit(function, cache=True, **self._options)
                code.compile(signature)
            except Exception:  # a full disk, a file torn by a crash: numba raises whatever comes
                for path in folder.rglob(f"*{name}*"):
                    path.unlink(missing_ok=True)
        if code is not None and code.signatures:
            return code  # kept, or compiled and not kept
        self.inner.compile(signature)
        return self.inner


@typeof_impl.register(Kernel)
def _type_of_kernel(kernel: Kernel, _: Any) -> numba.types.Dispatcher:
    """Let a kernel call another as it would a function of numba's own decorator."""
    return numba.types.Dispatcher(kernel.inner)


def _kinds(args: tuple) -> tuple:
    """Return what decides on the signature of a call, much faster than numba says it.

    What is in tuples is not looked at: it must follow from the arrays beside them. Where it does not, numba
    compiles for it nevertheless, but in a list that two signatures share.
    """
    return tuple(
        [
            (arg.dtype, arg.ndim, arg.flags.num & ~OWNS_DATA) if isinstance(arg, np.ndarray) else type(arg)
            for arg in args
        ]
    )


def _kernel(function: Callable, fastmath: set[str] | bool) -> Any:
    options = {"nogil": True, "boundscheck": False, "error_model": "numpy", "fastmath": fastmath}
    return Kernel(function, options)


def jit(function: Function) -> Function:
    """Compile a function with numba when it is first called, once per combination of dtypes.

    Parameters
    ----------
    function : callable
        What numba's nopython mode can compile, called by position. It runs without the GIL and without
        bounds checks, and divides as NumPy does.

    Examples
    --------
    >>> @jit
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42
    """
    return cast(Function, _kernel(function, False))


def fast_jit(function: Function) -> Function:
    """Do as `jit`, but reorder floating-point sums, which lets them use SIMD; NaN and infinities stay."""
    return cast(Function, _kernel(function, {"reassoc", "contract", "nsz", "arcp"}))
