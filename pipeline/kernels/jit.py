"""Compilation of kernels with numba, and the cache of compiled code on the disk.

numba rewrites its index of a function's signatures without a lock, so two processes that each add one could
get each other's code. Here each signature is a function of its own to numba, with an index of its own. Only
kernels called from Python are cached: those that they call are compiled into them.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from pipeline.kernels.lazy import extending, numba, registry
from pipeline.kernels.processor import IDENTITY, VECTOR

Function = TypeVar("Function", bound=Callable)

_OLD_FOLDERS = 4  # cache folders of other versions of the kernels that are kept
_OWNDATA = 4  # NumPy's NPY_ARRAY_OWNDATA, the one flag of an array that compiled code does not depend on

_compiling = threading.RLock()


@functools.cache
def cache_folder() -> Path | None:
    """Return the cache folder of this version of the kernels and of numba, on this processor.

    Code with vectors of another width has another folder. It is in `NUMBA_CACHE_DIR` if that is set, else in
    the user's cache or the temporary folder; None if none of them is writable.
    """
    digest = hashlib.sha256(f"{version('numba')} {version('llvmlite')} {IDENTITY} {VECTOR}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    roots = [f"{cache}/bgone-kernels", f"{tempfile.gettempdir()}/bgone-kernels-{os.getuid()}"]
    if root := os.environ.get("NUMBA_CACHE_DIR"):
        roots = [f"{root}/bgone-kernels"]
    for root in roots:
        with contextlib.suppress(OSError):
            _make_private(root)
            folder = Path(root, digest.hexdigest()[:16])
            if not folder.exists():
                _remove_oldest(root)
                folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()  # raises OSError if the folder is read-only
            return folder
    return None


def _make_private(folder: str) -> None:
    """Create a folder that only the user can write to: code in it is executed when it is loaded."""
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.stat(folder, follow_symlinks=False)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is open to other users")


def _remove_oldest(root: str) -> None:
    by_age = sorted(Path(root).iterdir(), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-_OLD_FOLDERS]:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _numba_cache_dir(folder: Path) -> Iterator[None]:
    """Set numba's cache folder while a kernel is decorated, so that other packages keep theirs."""
    previous, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = previous


class Kernel:
    """A function that is compiled for each signature when it is first called with it; see `jit`."""

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.signatures: dict[tuple, Any] = {}  # numba's types → compiled function
        self._function = function
        self._options = options
        self._by_key: dict[tuple, Any] = {}  # the same by `_call_key`

    @functools.cached_property
    def inner(self) -> Any:
        """The function as numba's dispatcher, which other kernels call."""
        return numba.njit(self._function, **self._options)

    def __call__(self, *args: Any) -> Any:
        """Call the function compiled for these arguments."""
        code = self._by_key.get(_call_key(args))
        return (self._prepare(args) if code is None else code)(*args)

    def _prepare(self, args: tuple) -> Any:
        self._by_key[_call_key(args)] = code = self.signatures[self.signature(args)]
        return code

    def signature(self, args: tuple) -> tuple:
        """Return numba's types of arguments, for which the function is then compiled."""
        with _compiling:
            _teach_numba()
        signature = tuple(map(numba.typeof, args))
        with _compiling:
            if signature not in self.signatures:
                self.signatures[signature] = self._load_or_compile(signature)
        return signature

    def _load_or_compile(self, signature: tuple) -> Any:
        folder, code = cache_folder(), None
        if folder is not None:
            function = types.FunctionType(self._function.__code__, self._function.__globals__)
            name = hashlib.sha256(f"{folder.name} {signature}".encode()).hexdigest()[:16]
            function.__qualname__ = f"{self._function.__name__}-{name}"
            try:
                with _numba_cache_dir(folder):
                    code = numba.njit(function, cache=True, **self._options)
                code.compile(signature)
            except Exception:  # numba does not say what it raises for a full disk or a torn file
                for path in folder.rglob(f"*{name}*"):
                    path.unlink(missing_ok=True)
        if code is not None and code.signatures:
            return code
        self.inner.compile(signature)
        return self.inner


class Late:
    """What kernels call and numba's extensions make, made when the first kernel is compiled.

    Parameters
    ----------
    make : callable
        Returns what `numba.extending.intrinsic` gives, or a function that `numba.extending.overload` knows.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @functools.cached_property
    def made(self) -> Any:
        """What `make` returned."""
        return self._make()


@functools.cache
def _teach_numba() -> None:
    """Let kernels call each other as functions of numba's own decorator, and what is made late."""

    @extending.typeof_impl.register(Kernel)
    def _(kernel: Kernel, _: Any) -> Any:
        return numba.types.Dispatcher(kernel.inner)

    @extending.typeof_impl.register(Late)
    def _(late: Late, _: Any) -> Any:
        context, made = registry.cpu_target.typing_context, late.made
        context.refresh()
        return context.resolve_value_type(made)


def _call_key(args: tuple) -> tuple:
    """Return a key that is equal for calls of one signature; much faster than `numba.typeof`."""
    # A tuple counts by its class alone: its types must follow from the arrays beside it. Otherwise numba
    # still compiles the right code, but two signatures share an index.
    return tuple(
        [
            (arg.dtype, arg.ndim, arg.flags.num & ~_OWNDATA) if isinstance(arg, np.ndarray) else type(arg)
            for arg in args
        ]
    )


def bound(kernel: Callable, *args: Any) -> Callable:
    """Return a kernel as compiled for arguments of these types, which it then takes unchecked.

    Finding the code for the types of many arguments takes longer than a small image.
    """
    assert isinstance(kernel, Kernel)
    signature = kernel.signature(args)
    return kernel.signatures[signature].overloads[signature].entry_point


def _kernel(function: Callable, fastmath: set[str] | bool) -> Any:
    options = {"nogil": True, "boundscheck": False, "error_model": "numpy", "fastmath": fastmath}
    return Kernel(function, options)


def jit(function: Function) -> Function:
    """Compile a function with numba when it is first called, for each combination of dtypes.

    Parameters
    ----------
    function : callable
        A function for numba's nopython mode, called with positional arguments. It runs without the GIL
        and without bounds checks, and divides as NumPy does.

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
    """Compile as `jit` does, but let floating-point sums be reordered for SIMD; NaN and infinities stay."""
    return cast(Function, _kernel(function, {"reassoc", "contract", "nsz", "arcp"}))
