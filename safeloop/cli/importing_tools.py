"""`--tools package.module:registry`: the operator's own tools, imported where Python finds them.

The current folder is not looked through unless the name begins with a dot: a file that lies in a folder must not take
the place of an installed module because somebody ran a command there (see also `__main__`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from safeloop.errors import SettingError
from safeloop.ledger import visible
from safeloop.tools import ToolRegistry

_FORM = "--tools package.module:registry, or .module:registry for one of the current folder"


def imported_tools(where: str) -> ToolRegistry:
    """Import a registry of tools.

    Args:
        where: `package.module:name`; with a dot before it, of the current folder.

    Raises:
        SettingError: There is no such module or name, it cannot be imported, or what is there is no registry of tools.
    """
    module_name, colon, name = where.partition(":")
    plain = module_name.removeprefix(".")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in plain.split("."))):
        raise SettingError(f"--tools {visible(where, 200)} names no registry", hint=_FORM)
    with contextlib.redirect_stdout(sys.stderr):  # what a module prints when it is imported is not the result
        module = _imported(plain, is_here=module_name != plain)
    found = getattr(module, name, None)
    if isinstance(found, ToolRegistry) and len(found):
        return found
    registries = [key for key, value in vars(module).items() if isinstance(value, ToolRegistry)]
    hint = f"registries there: {', '.join(registries)}" if registries else f"write in it: {name} = ToolRegistry()"
    if not hasattr(module, name):
        raise SettingError(f"--tools: the module {plain} has no {name}", hint=hint)
    if isinstance(found, ToolRegistry):
        raise SettingError(f"--tools: {where} holds no tool", hint=f"write @{name}.tool(...) before a function of it")
    raise SettingError(f"--tools: {where} is no ToolRegistry but a {visible(type(found).__name__)}", hint=hint)


def _imported(name: str, *, is_here: bool) -> ModuleType:
    here = str(Path.cwd())
    if is_here:
        _check_here(name, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _unimportable(name, error) from error
        folder = "in the current folder" if is_here else "where Python looks"
        other = not is_here and PathFinder.find_spec(name.partition(".")[0], [here]) is not None
        hint = f"one is in the current folder: --tools .{name}:..." if other else "pip install it, or " + _FORM
        raise SettingError(f"--tools: there is no module {error.name} {folder}", hint=hint) from None
    except (Exception, SystemExit) as error:
        raise _unimportable(name, error) from error


def _check_here(name: str, here: str) -> None:
    """Check that a module of the current folder is that one, and let it and what it imports be found there.

    Raises:
        SettingError: There is none, or an installed module has its name.
    """
    first = name.partition(".")[0]
    found = PathFinder.find_spec(first, [here])
    if found is None:
        raise SettingError(f"--tools: there is no module {first} in the current folder {here}", hint="ls; or " + _FORM)
    installed = importlib.util.find_spec(first)
    if installed is not None and installed.origin != found.origin:
        raise SettingError(
            f"--tools: the module {first} of the current folder has the name of an installed one",
            hint=f"give {first} another name",
        )
    sys.path.append(here)  # last: whatever is installed comes before what lies here


def _unimportable(name: str, error: BaseException) -> SettingError:
    said = visible(str(error) or "no reason given", 300)
    what = f"--tools: importing {name} raised {type(error).__name__}: {said}"
    return SettingError(what, hint="the same command with --debug shows where")
