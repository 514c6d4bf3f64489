"""The architecture: packages in the order of the data, imports that go down, one meaning a name."""

import ast
import importlib
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "pipeline"
ORDER = (
    "model",
    "kernels",
    "storage",
    "steps",
    "write",
    "read",
    "config",
    "planning",
    "explore",
    "reporting",
    "runtime",
    "testing",
    "cli",
    "__init__",
    "__main__",
)
"""Packages and modules from the ground up: each imports only what stands before it."""
ENTRIES = 13
PAIRS = 60
KNOWS = {
    "dask": {"model", "steps", "read", "write", "runtime"},
    "distributed": {"runtime"},
    "zarr": {"read", "write", "storage", "explore"},
    "tifffile": {"read", "explore"},
    "click": {"cli", "config"},
    "matplotlib": {"explore"},
}
IN_KERNELS = {"numpy", "numba", "llvmlite", "scipy", "pipeline"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("pipeline", *(part for part in parts if part != "__init__")))


MODULES = {module_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def entry(module: str) -> str:
    """Return the package or module of the top level that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(tree: ast.AST, module: str) -> set[str]:
    """Return what a module imports, inside functions too, but not for type checkers alone."""
    names = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            names |= set().union(*(imports(child, module) for child in node.orelse))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}, line {node.lineno}: import by the full name, from pipeline"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module or "" for name in full}
        else:
            names |= imports(node, module)
    return names


IMPORTS = {module: imports(tree, module) for module, tree in MODULES.items()}


def test_the_top_level_holds_a_dozen_packages():
    entries = {entry(module) for module in MODULES}
    assert entries <= set(ORDER), f"put {entries - set(ORDER)} into a package, or into ORDER"
    assert len(entries - {"__init__", "__main__"}) <= ENTRIES


def test_every_package_says_what_belongs_there():
    silent = [
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name != "__pycache__"
        if "elong" not in (ast.get_docstring(ast.parse((path / "__init__.py").read_text())) or "")
    ]
    assert not silent


def test_imports_only_go_down():
    up = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others & set(MODULES)
        if ORDER.index(entry(other)) > ORDER.index(entry(module))
    ]
    assert not up


def test_few_packages_know_each_other():
    pairs = {
        (entry(module), entry(other))
        for module, others in IMPORTS.items()
        for other in others & set(MODULES)
        if entry(module) != entry(other) and entry(module) not in ("__init__", "__main__")
    }
    assert len(pairs) <= PAIRS


def test_imports_make_no_circle():
    graph = {module: (others & set(MODULES)) - {module} for module, others in IMPORTS.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_few_packages_know_the_large_libraries():
    strays = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if entry(module) not in KNOWS.get(other.split(".")[0], {entry(module)})
    ]
    assert not strays


def test_kernels_know_arrays_alone():
    strays = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        if entry(module) == "kernels"
        for other in others
        if other.split(".")[0] not in IN_KERNELS | sys.stdlib_module_names
    ]
    assert not strays


def test_one_module_calls_map_overlap():
    callers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        if "map_overlap" in (getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "name", ""))
    }
    assert callers == {"pipeline.steps.overlap"}


def public_names(tree: ast.Module) -> set[str]:
    """Return the public names that a module defines; assignments that hand on an import are none."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_defined_in_one_module():
    homes = defaultdict(list)
    for module, tree in MODULES.items():
        for name in public_names(tree):
            homes[name].append(module)
    doubles = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert not doubles


def test_benchmarks_import_what_there_is():
    missing = [
        f"{path.name}: {node.module}.{alias.name}"
        for path in (ROOT.parent / "tests/benchmarks").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline")
        for alias in node.names
        if not hasattr(importlib.import_module(node.module), alias.name)
    ]
    assert not missing
