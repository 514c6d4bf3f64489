"""Click's errors on the command line in the words of bgone's other messages."""

from __future__ import annotations

import difflib
import re
import shlex

import click

from pipeline.config.files import path_kind
from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import nearest, readable
from pipeline.model.units import comma_hint


def unknown_command(name: str, known: tuple[str, ...]) -> RequestError:
    """Make the error for an unknown command; for a file's name it suggests one."""
    if name.startswith("-"):
        return RequestError(f"there is no option {readable(name)}", "see bgone --help")
    kind = path_kind(name)
    command = {"config": "run", "image": "info", "zarr": "info", "output": "info"}.get(kind)
    if command is not None:
        return RequestError(
            f"{readable(name)} is no command", f"did you mean bgone {command} {shlex.quote(name)}?"
        )
    if name == "help":
        return RequestError("there is no command help", "see bgone --help, or bgone run --help")
    return RequestError(f"there is no command {readable(name)}", nearest(name, known))


def click_problem(error: click.ClickException, group: click.Group, arguments: list[str]) -> Problem:
    """Turn click's error about the arguments of a group into a problem with a hint."""
    # Not every error of click's names its command.
    command = next((argument for argument in arguments if argument in group.commands), "")
    parameters = group.commands[command].params if command else group.params
    see = f"see bgone {command} --help" if command else "see bgone --help"
    text = error.format_message().rstrip(".")
    parameter = getattr(error, "param", None)
    if isinstance(error, click.NoSuchOption):
        return _no_option(error.option_name, parameters, command, see)
    if isinstance(error, click.MissingParameter) and parameter is not None:
        if isinstance(parameter, click.Option):
            return Problem("is missing", f"add {_typed(parameter)} {_metavar(parameter)}", _typed(parameter))
        name = _metavar(parameter)
        return Problem(f"{name} is missing", f"write bgone {command} {name}; see bgone {command} --help")
    if isinstance(error, click.BadParameter) and parameter is not None:
        message, hint = _bad_value(parameter, text.partition(": ")[2] or text)
        return Problem(message, hint or see, _typed(parameter))
    if isinstance(error, click.BadOptionUsage) and "requires" not in text:
        return Problem("takes no value", "leave it out", error.option_name)
    if isinstance(error, click.BadOptionUsage):
        option = next((option for option in parameters if error.option_name in option.opts), None)
        hint = see if option is None else f"give one: {error.option_name} {_metavar(option)}"
        return Problem("has no value", hint, error.option_name)
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", text)
    if extra is not None:
        return Problem(f"{readable(extra[1])} is too much", "leave it out, or quote a name with spaces")
    return Problem(readable(text), see)


def _no_option(option: str, parameters: list[click.Parameter], command: str, see: str) -> Problem:
    names = [name for parameter in parameters for name in parameter.opts if name.startswith("-")]
    known = {name.lstrip("-"): name for name in names}
    message = f"there is no option {readable(option)}"
    word = option.lstrip("-")
    if word in known:
        return Problem(message, f"write it behind the command: bgone {command} … {known[word]}")
    close = difflib.get_close_matches(word.lower()[:60], known, n=1, cutoff=0.6)
    close = close or [name for name in known if word and name.startswith(word)]
    return Problem(message, f"did you mean {known[close[0]]}?" if close else see)


def _typed(parameter: click.Parameter) -> str:
    """Return a parameter as a user types it: --level, or INPUT."""
    return parameter.opts[0] if isinstance(parameter, click.Option) else _metavar(parameter)


def _metavar(parameter: click.Parameter) -> str:
    return parameter.metavar or (parameter.name or "").upper()


def _bad_value(parameter: click.Parameter, text: str) -> tuple[str, str]:
    """Return mistake and hint for the value of a parameter."""
    match = re.match(r"('[^']*'|\S+) is not", text)
    value = readable(match[1].strip("'")) if match else "this"
    kind = parameter.type
    if isinstance(kind, click.Choice):
        choices = tuple(map(str, kind.choices))
        return f"{value} is not a choice", nearest(value, choices, f"use one of {', '.join(choices)}")
    if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return readable(text), ""
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    bounds = "" if least is None else f" of {least} or more" if most is None else f" from {least} to {most}"
    number = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    wrong = f"is not {number}"
    if "in the range" in text:
        above = most is not None and float(value) > most
        wrong = f"is above {most}" if above else f"is below {least}"
    return f"{value} {wrong}", comma_hint(value) or f"give {number}{bounds}"
