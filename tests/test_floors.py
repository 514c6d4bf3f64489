"""The architecture: imports only go down the floors, and few modules know the large libraries."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "pipeline"
FLOORS = (
    "errors axes units kernels machine tiling clock paths finite complaints yaml_lines",
    "image lengths arguments arrays step background planes",
    "steps read write",
    "config chain settings setting_types compute_types overrides other_words what_is",
    "plan blocks budget refit warmup",
    "task graph lazy store describe",
    "job overlap start places journal probe fleet slurm remote executor cluster connect reach runner "
    "compute levels loop peak progress stopping summary crop figure report",
    "preview measure sheet contact sweep granulometry fitting fitting_figure suggest starter "
    "oracle recompute view sample embryo catalogue usage cli __main__",
    "__init__",
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
KNOWS = {
    "dask": {
        "read",
        "write",
        "image",
        "graph",
        "lazy",
        "executor",
        "cluster",
        "connect",
        "slurm",
        "compute",
        "levels",
        "loop",
    },
    "distributed": {"cluster", "connect", "reach", "slurm"},
    "zarr": {"read", "write"},
    "tifffile": {"read", "write"},
}
IN_KERNELS = {"numpy", "numba", "llvmlite", "scipy", "pipeline"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("pipeline", *(part for part in parts if part != "__init__")))


MODULES = {module_of(path): ast.parse(path.read_text()) for path in ROOT.rglob("*.py")}


def room(module: str) -> str:
    """Return the file or folder of the package that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(tree: ast.AST) -> set[str]:
    """Return what a module imports, inside functions too, but not for type checkers alone."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found |= set().union(*map(imports, node.orelse))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name, from pipeline"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module or "" for name in names}
        else:
            found |= imports(node)
    return found


IMPORTS = {module: imports(tree) for module, tree in MODULES.items()}


def test_every_module_stands_on_a_floor():
    homeless = sorted({room(module) for module in MODULES} - set(FLOOR))
    assert not homeless, f"put {homeless} on a floor in FLOORS, and in the table of pipeline/DESIGN.md"


def test_imports_only_go_down():
    up = [
        f"{module} (floor {FLOOR[room(module)]}) imports {other} (floor {FLOOR[room(other)]})"
        for module, others in IMPORTS.items()
        for other in others & set(MODULES)
        if {room(module), room(other)} <= set(FLOOR) and FLOOR[room(other)] > FLOOR[room(module)]
    ]
    assert not up


def test_imports_make_no_circle():
    graph = {module: (others & set(MODULES)) - {module} for module, others in IMPORTS.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_few_modules_know_the_large_libraries():
    strays = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if room(module) not in KNOWS.get(other.split(".")[0], {room(module)})
    ]
    assert not strays


def test_kernels_know_arrays_alone():
    strays = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        if room(module) == "kernels"
        for other in others
        if other.split(".")[0] not in IN_KERNELS | sys.stdlib_module_names
    ]
    assert not strays


def test_only_graph_calls_map_overlap():
    callers = {
        module
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        if "map_overlap" in (getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "name", ""))
    }
    assert callers <= {"pipeline.graph"}
