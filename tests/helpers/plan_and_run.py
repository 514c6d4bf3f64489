"""Plan and run of one config, which must end alike."""

from neighbours import everything

from pipeline.cli import main


def both(made, capsys, *options):
    """Return how plan and run end: they must end alike, and change nothing."""
    before, found = everything(made.parent), []
    for command in ("plan", "run"):
        code = main([command, str(made), *options])
        found.append((code, [line for line in capsys.readouterr().err.splitlines() if "error" in line]))
        assert everything(made.parent) == before
    assert found[0] == found[1]
    return found[0]
