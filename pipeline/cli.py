"""The command line: the commands, their options and their help."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from typing import Any

import click

from pipeline.model.errors import DataError, PipelineError, RequestError

CONFIG = click.argument("config", type=click.Path())
SETS = click.option(
    "--set", "sets", multiple=True, metavar="PATH=VALUE",
    help="Change the config: steps.0.radius=25, white_tophat.radius=25, compute.memory='4 GiB'.",
)  # fmt: skip
INPUT = click.option("--input", metavar="PATH", help="Take this input instead of the config's.")
OUTPUT = click.option("--output", metavar="PATH", help="Write here instead.")
# `main` looks for it itself, since it also catches errors of click.
DEBUG = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
AXES = click.option("--axes", help="The axes of a stack that does not say them.")
SERIES = click.option("--series", type=int, help="Which image of a file with several.")
LEVEL = click.option("--level", type=int, default=0, show_default=True, help="Which level of a pyramid.")


class CommandGroup(click.Group):
    """A group that lists its commands in the order of their definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or raise our own error where there is none of the name."""
        if args and self.get_command(ctx, args[0]) is None:
            from pipeline.config.usage_errors import unknown_command

            raise unknown_command(args[0], tuple(self.commands))
        return super().resolve_command(ctx, args)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bgone", prog_name="bgone")
def main_group() -> None:
    """Background subtraction for time-lapse microscopy larger than memory."""


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the parameters of every command for a config: config, sets, input and output."""
    for option in (DEBUG, OUTPUT, INPUT, SETS, CONFIG):
        command = option(command)
    return command


def opening(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that opens an image: axes, series and level."""
    for option in (LEVEL, SERIES, AXES):
        command = option(command)
    return command


@main_group.command("run")
@configured
@click.option("--overwrite", is_flag=True, help="Replace an existing output, once the new one is whole.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def run_command(config: str, overwrite: bool, quiet: bool, **overrides: Any) -> None:
    """Run CONFIG, or go on where a run of it stopped."""
    from pipeline.runtime.progress import Progress, progress_for
    from pipeline.runtime.run import run

    progress = Progress() if quiet else progress_for(sys.stderr)
    click.echo(run(config, overwrite=overwrite, progress=progress, **overrides).text())


@main_group.command("plan")
@configured
@click.option("--overwrite", is_flag=True, help="Of a run that replaces an existing output.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def plan_command(config: str, overwrite: bool, as_json: bool, **overrides: Any) -> None:
    """Show what would run, without reading a pixel."""
    from pipeline.planning.describe import plan_dict, plan_text
    from pipeline.planning.job import prepare
    from pipeline.planning.start import check_start

    job = prepare(config, **overrides)
    start = check_start(job, overwrite=overwrite)
    if as_json:
        plain = {
            **plan_dict(job.plan, job.source.path),
            "missing": str(job.missing or ""),
            "notes": list(job.source.notes),
            "state": start.state,
            "input_compression": job.source.compression,
        }
        click.echo(json.dumps(plain, indent=2))
    else:
        notes = (*job.source.notes, *start.notes)
        source = job.source
        text = plan_text(job.plan, source.path, source.not_carried, job.missing, notes, source.compression)
        click.echo(text)


@main_group.command("steps")
@click.argument("name", required=False)
@DEBUG
def steps_command(name: str | None) -> None:
    """List the steps, or explain the step NAME."""
    from pipeline.config.schema import describe_step, list_steps

    click.echo(list_steps() if name is None else describe_step(name))


@main_group.command("schema")
@DEBUG
def schema_command() -> None:
    """Print the JSON schema of a config, for editors."""
    from pipeline.config.schema import config_schema

    click.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))


@main_group.command("info")
@click.argument("path")
@opening
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@DEBUG
def info_command(path: str, as_json: bool, **options: Any) -> None:
    """Show axes, shape, dtype, chunks, scale and channels of any input."""
    from pipeline.planning.describe import info_dict, info_text
    from pipeline.read import open_source

    source = open_source(path, **options)
    try:
        missing = str(source.missing() or "")
    except DataError as error:
        missing = str(error)
    if as_json:
        plain = {**info_dict(source.path, source.spec), "missing": missing, "notes": list(source.notes)}
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        click.echo(info_text(source.path, source.spec, source.not_carried, missing, source.notes))


@main_group.command("sample")
@click.argument("path")
@click.option("--frames", type=click.IntRange(1), default=12, show_default=True)
@click.option("--size", type=click.IntRange(64), default=512, show_default=True, help="Pixels a side.")
@click.option("--channels", type=click.IntRange(1, 4), default=1, show_default=True)
@click.option("--z", type=click.IntRange(1), default=1, show_default=True, help="Planes of a stack.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--dtype", type=click.Choice(["uint8", "uint16", "float32"]), default="uint16", show_default=True
)
@click.option(
    "--radius", "object_radius", type=float, default=8.0, show_default=True, help="Of the nuclei, in px."
)
@DEBUG
def sample_command(path: str, **options: Any) -> None:
    """Write a synthetic embryo time-lapse to PATH: TIFF or OME-Zarr by its name."""
    from pipeline.explore.sample import make_sample

    make_sample(path, **options)
    click.echo(f"wrote {path}")


@main_group.command("verify")
@click.argument("output")
@click.option(
    "--recompute", "blocks", type=click.IntRange(1), metavar="N",
    help="Compute N random blocks again from the input, through scikit-image and scipy.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), help="Which blocks; printed, to look at the same ones again.")
@click.option("--input", metavar="PATH", help="Where the input is now, if it was moved.")
@DEBUG
def verify_command(output: str, blocks: int | None, seed: int | None, input: str | None) -> None:
    """Check every file of a finished OUTPUT against its own manifest."""
    from pipeline.config.files import check_output_argument
    from pipeline.model.errors import Problem, VerificationError
    from pipeline.write import verify

    if blocks is None and (seed is not None or input is not None):
        raise RequestError("--seed and --input are for --recompute", "add --recompute 20")
    check_output_argument(output)
    damaged = list(verify(output))
    if damaged:
        raise VerificationError(
            Problem(str(damage), "write the output again with --overwrite", file=output) for damage in damaged
        )
    click.echo(f"{output} holds what its manifest says")
    if blocks is not None:
        from pipeline.reporting.recompute import recompute

        click.echo(recompute(output, blocks, seed=seed, input=input))


@main_group.command("view")
@click.argument("output")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Of this machine; a free one if not said."
)
@DEBUG
def view_command(output: str, port: int) -> None:
    """Serve OUTPUT to viewers on this machine, and print what to open; Ctrl-C ends it, with exit code 0."""
    from pipeline.config.files import check_output_argument
    from pipeline.reporting.serve import Server, view_message

    check_output_argument(output)
    # Ctrl-C may come as soon as the text is printed, before the server serves.
    with contextlib.suppress(KeyboardInterrupt), Server(output, port) as server:
        click.echo(view_message(server))
        server.serve_forever()


@main_group.command("report")
@click.argument("output")
@click.option("-o", "page", metavar="FILE", help="Where the page goes; its place inside OUTPUT by default.")
@DEBUG
def report_command(output: str, page: str | None) -> None:
    """Make the report of a finished OUTPUT again: one HTML file, to be opened in a browser."""
    from pipeline.config.files import check_output_argument
    from pipeline.reporting import report

    check_output_argument(output)
    click.echo(report(output, page))


@main_group.command("preview")
@configured
@click.option("-o", "picture", required=True, metavar="PICTURE", help="Where it goes: a .png, .pdf or .svg.")
@click.option("--t", metavar="0,50,-1", help="Which frames; the middle one by default.")
@click.option("--c", metavar="GFP,1", help="Which channels, by name or index; all by default.")
@click.option("--z", metavar="0", help="Which planes of a stack; the middle one by default.")
@click.option("--crop", metavar="y=0:512,x=0:512", help="Which part of a plane.")
def preview_command(
    config: str, picture: str, t: str | None, c: str | None, z: str | None, crop: str | None, **overrides: Any
) -> None:
    """Draw before, background and after side by side, of a few planes."""
    from pipeline.explore.preview import preview
    from pipeline.planning.job import prepare

    job = prepare(config, **overrides)
    click.echo(preview(job, picture, t=t, c=c, z=z, crop=crop))


@main_group.command("sweep")
@click.argument("config", type=click.Path())
@click.option(
    "--set", "sets", multiple=True, metavar="PATH=VALUE,…",
    help="What is swept, one or two fields: white_tophat.radius=5,15,25. One value: a change for all.",
)  # fmt: skip
@click.option("-o", "picture", required=True, metavar="PICTURE", help="Where it goes; a .csv goes beside it.")
@INPUT
@click.option("--t", metavar="50", help="Which frame; the middle one by default.")
@click.option("--c", metavar="GFP", help="Which channel; the first one by default.")
@click.option("--z", metavar="3", help="Which plane of a stack; the middle one by default.")
@click.option("--crop", metavar="y=0:512,x=0:512", help="Which part of a plane.")
@DEBUG
def sweep_command(config: str, sets: tuple[str, ...], picture: str, **options: Any) -> None:
    """Draw one plane under many settings: the contact sheet for choosing parameters."""
    from pipeline.explore.sweep import sweep

    click.echo(sweep(config, sets, picture, **options))


@main_group.command("init")
@click.argument("path", metavar="INPUT")
@click.option("-o", "config", metavar="CONFIG", help="Where it goes; printed without.")
@opening
@click.option("--overwrite", is_flag=True, help="Replace a config that is there.")
@DEBUG
def init_command(path: str, config: str | None, overwrite: bool, **options: Any) -> None:
    """Write a commented config for INPUT: axes, scale and channels filled in from the data."""
    from pipeline.explore.init import starter, write_new

    text = starter(path, **options)
    if config is None:
        click.echo(text, nl=False)
    else:
        write_new(config, text, overwrite)
        click.echo(f"wrote {config}")


@main_group.command("suggest")
@click.argument("path", metavar="INPUT")
@click.option(
    "-o", "config", metavar="CONFIG", help="The config that is written: NAME.suggested.yaml if not said."
)
@click.option("--plot", metavar="PICTURE", help="The plot; beside the config if not said.")
@click.option("--features", type=click.Choice(["bright", "dark"]), help="Instead of what stands out.")
@opening
@click.option("--overwrite", is_flag=True, help="Replace a config that is there.")
@DEBUG
def suggest_command(path: str, **options: Any) -> None:
    """Find out what radius and sigmas fit INPUT: a range for each channel, a config and a plot."""
    from pipeline.explore.suggest import suggest

    click.echo(suggest(path, **options))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    A user's mistake is a line on stderr, not a traceback, unless `--debug` is given.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold bytes that the terminal's encoding has no character for.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        main_group.main(arguments, prog_name="bgone", standalone_mode=False)
    except PipelineError as error:
        if "--debug" in arguments:
            raise
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        from pipeline.config.usage_errors import click_problem

        print(f"error: {click_problem(error, main_group, arguments)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does.
        sys.stderr.close()
        return 0
    return 0
