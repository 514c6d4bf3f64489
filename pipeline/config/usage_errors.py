"""A command line that is wrong, in words: what click found, as every other message of bgone says it."""

from __future__ import annotations

import difflib
import re
import shlex

import click

from pipeline.config.files import path_kind
from pipeline.model.errors import Problem, RequestError
from pipeline.model.text import nearest, readable
from pipeline.model.units import comma_mend


def no_command(name: str, known: tuple[str, ...]) -> RequestError:
    """Return the refusal of a word that is no command: a file's name wants a command before it."""
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


def in_words(error: click.ClickException, group: click.Group, arguments: list[str]) -> Problem:
    """Return what click refuses as what is wrong and how to mend it.

    Parameters
    ----------
    error : click.ClickException
        What it raised.
    group : click.Group
        The commands.
    arguments : list of str
        What was typed.
    """
    # Not every error of click's says in which command it was.
    name = next((each for each in arguments if each in group.commands), "")
    parameters = group.commands[name].params if name else group.params
    see = f"see {' '.join(('bgone', name, '--help')) if name else 'bgone --help'}"
    if isinstance(error, click.NoSuchOption):
        return _no_option(error.option_name, parameters, name, see)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return _missing(error.param, name)
    if isinstance(error, click.BadParameter) and error.param is not None:
        what, mend = _bad_value(error.param, error.format_message())
        return Problem(what, mend or see, _shown(error.param))
    if isinstance(error, click.BadOptionUsage):
        takes = next((each for each in parameters if error.option_name in each.opts), None)
        value = f"give one: {error.option_name} {_metavar(takes)}" if takes is not None else see
        told = "has no value" if "requires" in error.format_message() else "takes no value"
        return Problem(told, value if told == "has no value" else "leave it out", error.option_name)
    extra = re.fullmatch(r"Got unexpected extra arguments? \((.*)\)", error.format_message().rstrip("."))
    if extra is not None:
        return Problem(f"{readable(extra[1])} is too much", "leave it out, or quote a name with spaces")
    return Problem(readable(error.format_message().rstrip(".")), see)


def _no_option(option: str, parameters: list[click.Parameter], command: str, see: str) -> Problem:
    known = {name.lstrip("-"): name for each in parameters for name in each.opts if name.startswith("-")}
    what = f"there is no option {readable(option)}"
    word = option.lstrip("-")
    if word in known:
        return Problem(what, f"write it behind the command: bgone {command} … {known[word]}")
    close = difflib.get_close_matches(word.lower()[:60], known, n=1, cutoff=0.6)
    close = close or [each for each in known if word and each.startswith(word)][:1]
    return Problem(what, f"did you mean {known[close[0]]}?" if close else see)


def _shown(parameter: click.Parameter) -> str:
    """Return a parameter as it is typed: --level, or INPUT."""
    return parameter.opts[0] if isinstance(parameter, click.Option) else _metavar(parameter)


def _metavar(parameter: click.Parameter) -> str:
    return parameter.metavar or (parameter.name or "").upper()


def _missing(parameter: click.Parameter, command: str) -> Problem:
    name = _metavar(parameter)
    if not isinstance(parameter, click.Option):
        return Problem(f"{name} is missing", f"write bgone {command} {name}; see bgone {command} --help")
    return Problem("is missing", f"add {parameter.opts[0]} {name}", parameter.opts[0])


def _bad_value(parameter: click.Parameter, said: str) -> tuple[str, str]:
    """Return what is wrong with a value, and what may stand there."""
    told = said.partition(": ")[2].rstrip(".") or said
    given = re.match(r"('[^']*'|\S+) is not", told)
    value = readable(given[1].strip("'")) if given else "this"
    kind = parameter.type
    if isinstance(kind, click.Choice):
        choices = tuple(map(str, kind.choices))
        return f"{value} is not a choice", nearest(value, choices, f"use one of {', '.join(choices)}")
    if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return readable(told), ""
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    bounds = "" if least is None else f" of {least} or more" if most is None else f" from {least} to {most}"
    number = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    below = "in the range" in told and f"is {'above' if _above(value, most) else 'below'}"
    wrong = f"{below} {most if _above(value, most) else least}" if below else f"is not {number}"
    return f"{value} {wrong}", comma_mend(value) or f"give {number}{bounds}"


def _above(value: str, most: float | None) -> bool:
    return most is not None and float(value) > most
