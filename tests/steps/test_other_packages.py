"""Steps that other packages bring, and steps defined in a notebook or a script."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import zarr

STEP = '''
import numpy as np
from pipeline.steps import Step


class Halve(Step):
    """Divide by two.

    Parameters
    ----------
    factor : float
        What to divide by.
    """

    background = None
    examples = ({"factor": 2.0},)
    factor: float = 2.0

    def halo(self):
        return dict.fromkeys(self.along, 0)

    def out_dtype(self, dtype):
        return np.dtype("float32")

    def value_range(self, low, high):
        return low / self.factor, high / self.factor

    def working_bytes(self, shape, dtype, axes):
        return 0

    def apply(self, block, axes, origin):
        return (block / self.factor).astype(np.float32)

    def reference(self, image, axes):
        return self.apply(image, axes, ())
'''


def install(folder, package, version, entry_points, **modules):
    """Lay a package into a folder as an installer does."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = "\n".join(f"{name} = {value}" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[bgone.steps]\n{lines}\n")
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return info


def bgone(folder, *arguments):
    """Run a command with a folder of packages on the path; return its exit code and what it says."""
    return python(folder, "-m", "pipeline", *arguments)


def python(folder, *arguments):
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def config(tmp_path):
    """Return a way to write a config with one step."""
    image = np.arange(2 * 20 * 20, dtype=np.uint16).reshape(2, 20, 20)
    zarr.create_array(tmp_path / "in.zarr", data=image)

    def write(step, cluster="threads"):
        text = f"""
            input: {{path: in.zarr, axes: tyx}}
            steps: [{step}]
            output: {{path: out.zarr, pyramid: false}}
            compute: {{cluster: {cluster}, workers: 1}}
        """
        (tmp_path / "config.yaml").write_text(textwrap.dedent(text))
        return str(tmp_path / "config.yaml")

    return write


def test_a_step_of_another_package_is_listed_with_it_and_runs(tmp_path, config):
    info = install(tmp_path, "lab-filters", "1.2", {"halve": "lab_filters:Halve"}, lab_filters=STEP)
    code, text = bgone(tmp_path, "steps")
    assert code == 0
    assert "Divide by two. (lab-filters 1.2)" in text
    assert sum("(lab-filters" in line for line in text.splitlines()) == 1
    assert "It comes with lab-filters 1.2." in bgone(tmp_path, "steps", "halve")[1]

    path = config("halve: {factor: 4.0}")
    code, text = bgone(tmp_path, "run", "--quiet", path)
    assert code == 0, text
    image, result = (zarr.open_array(str(tmp_path / path)) for path in ("in.zarr", "out.zarr/0"))
    np.testing.assert_array_equal(result[:], image[:] / np.float32(4))

    # With another version of the package it is another run.
    assert "nothing to do" in bgone(tmp_path, "run", path)[1]
    metadata = info / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2", "1.3"))
    info.rename(tmp_path / "lab_filters-1.3.dist-info")
    code, text = bgone(tmp_path, "run", path)
    assert code == 2
    assert "exists already" in text


BROKEN = {
    "not_there": ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    "no_name": ("x = 1", "AttributeError: module 'no_name' has no attribute 'Halve'"),
    "no_step": ("class Halve: pass", "neither a step class nor a module"),
    "not_whole": (STEP.replace("def halo", "def hello"), "Halve does not define halo"),
    "taken": (STEP.replace("Halve", "WhiteTophat") + "\nHalve = WhiteTophat", "give the class another name"),
}


def test_a_broken_package_is_named_where_it_matters_and_hinders_no_other_step(tmp_path, config):
    modules = {name: text for name, (text, _) in BROKEN.items()}
    install(tmp_path, "lab-filters", "1.2", {name: f"{name}:Halve" for name in BROKEN}, **modules)
    code, text = bgone(tmp_path, "steps")
    assert code == 0
    assert "white_tophat" in text
    for name, (_, reason) in BROKEN.items():
        (line,) = [line for line in text.splitlines() if f"cannot be imported from {name}:Halve" in line]
        assert line.startswith(f"lab-filters 1.2 brings steps as '{name}' that")
        assert reason in line
        assert line.endswith("; update, mend or uninstall that package")

    code, text = bgone(tmp_path, "plan", config("not_there: {}"))
    assert code == 2
    assert "Traceback" not in text
    assert "there is no step 'not_there'" in text
    assert "lab-filters 1.2 brings steps as 'not_there' that cannot be imported from not_there:Halve" in text
    assert "no_step" not in text
    code, text = bgone(tmp_path, "plan", config("white_tophat: {radius: 2}"))
    assert code == 0, text
    assert "lab-filters" not in text


def test_a_module_of_steps_is_imported_for_names_that_bgone_has_not(tmp_path, config):
    install(tmp_path, "lab-filters", "1.2", {"lab": "lab"}, lab=f"print('imported')\n{STEP}")
    assert "imported" not in bgone(tmp_path, "plan", config("white_tophat: {radius: 2}"))[1]
    code, text = bgone(tmp_path, "plan", config("halve: {}"))
    assert code == 0, text
    assert "imported" in text


NOTEBOOK = """
import cloudpickle
from pipeline.steps import REGISTRY
from pipeline.model.errors import RequestError
import pipeline

first = Halve
assert cloudpickle.loads(cloudpickle.dumps(Halve(factor=4.0))).factor == 4
assert REGISTRY["halve"] is first


class Tophat(pipeline.WhiteTophat):
    "Whole, though its body says nothing."


cloudpickle.loads(cloudpickle.dumps(Tophat(radius=3)))
assert REGISTRY["tophat"] is Tophat

exec(source)  # the cell is run again
assert Halve is not first
assert REGISTRY["halve"] is Halve
cloudpickle.loads(cloudpickle.dumps(first()))
assert REGISTRY["halve"] is Halve

try:

    class WhiteTophat(Halve):
        "Of another module than bgone's."
except RequestError as error:
    print(error)
assert REGISTRY["white_tophat"] is pipeline.WhiteTophat
"""


def test_a_step_of_a_notebook_stays_whole_when_it_is_pickled(tmp_path):
    script = tmp_path / "notebook.py"
    script.write_text(f"source = {STEP!r}\nexec(source)\n{NOTEBOOK}")
    code, text = python(tmp_path, str(script))
    assert code == 0, text
    assert "__main__.WhiteTophat would be the step white_tophat" in text
    assert "give the class another name" in text


def test_a_step_of_a_script_runs_twice_in_one_process_and_in_workers(tmp_path, config):
    config("halve: {factor: 4.0}", "local")
    script = tmp_path / "script.py"
    body = """
if __name__ == "__main__":
    import pipeline
    for _ in range(2):
        pipeline.run("config.yaml", overwrite=True)
"""
    script.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{STEP}{body}")
    code, text = python(tmp_path, str(script))
    assert code == 0, text
    image, result = (zarr.open_array(str(tmp_path / path)) for path in ("in.zarr", "out.zarr/0"))
    np.testing.assert_array_equal(result[:], image[:] / np.float32(4))
