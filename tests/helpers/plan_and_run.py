"""`plan` and `run` of one config, which must end alike."""

from neighbours import everything

from pipeline.cli import main


def both(path, capsys, *options):
    """Return exit code and errors of plan and run, which must agree and change no file."""
    before, outcomes = everything(path.parent), []
    for command in ("plan", "run"):
        code = main([command, str(path), *options])
        outcomes.append((code, [line for line in capsys.readouterr().err.splitlines() if "error" in line]))
        assert everything(path.parent) == before
    assert outcomes[0] == outcomes[1]
    return outcomes[0]
