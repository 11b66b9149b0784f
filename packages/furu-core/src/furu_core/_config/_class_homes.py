"""The home of a class: the globals in which its class statement was executed.

A class of ``__main__`` need not be in ``sys.modules["__main__"]``: cProfile, trace and others
execute a script in globals of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

import attrs

from furu_core.errors import FuruImportNameError

MAIN = ("__main__", "__mp_main__")


@attrs.frozen(eq=False)
class ClassHome:
    """The globals that hold a class, and which execution of a file filled them.

    Attributes:
        namespace: the globals.
        file: their ``__file__``, absolute.
        spec: their ``__spec__``, which is another one after a reload.
        code: the code of the file, if a class statement at its top level was seen.
        written_in: the file of the code that held the class statement, if that was seen.
        line: the line of the class statement, if that was seen.
    """

    namespace: dict[str, Any]
    file: str | None
    spec: object
    code: CodeType | None
    written_in: str | None = None
    line: int | None = None

    def is_same_execution(self, other: ClassHome) -> bool:
        """Whether the same execution filled both, so that neither is a reload of the other."""
        if self.namespace is not other.namespace or self.spec is not other.spec:
            return False
        # The globals do not tell: a shell that runs a file again may use the same ones.
        return self.code is other.code or None in (self.code, other.code)


homes: dict[type, ClassHome] = {}  # config classes once they are defined, others once named

_codes: dict[int, CodeType] = {}  # id of globals -> the code that was executed in them last


def is_script(module_name: str) -> bool:
    """Whether a module is the script being run, which has another name in other processes."""
    return module_name in MAIN or module_name.startswith("<")  # runpy says "<run_path>"


def home_of_statement(cls: type) -> ClassHome | None:
    """The home of a class whose statement is being executed; None where no frame shows it."""
    # Only the frames of the stack tell in which globals the class is made.
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_globals.get("__name__") != cls.__module__:
        frame = frame.f_back
    if frame is None:
        return None
    code = frame.f_code
    if code.co_name == "<module>" and code.co_filename == frame.f_globals.get("__file__"):
        _codes[id(frame.f_globals)] = code
    return home_at(frame.f_globals, code.co_filename, frame.f_lineno)


def home_at(
    namespace: dict[str, Any], written_in: str | None = None, line: int | None = None
) -> ClassHome:
    """The `ClassHome` of globals in their present state."""
    said = namespace.get("__file__")
    file = os.path.abspath(said) if isinstance(said, str) else None
    code = _codes.get(id(namespace))
    return ClassHome(namespace, file, namespace.get("__spec__"), code, written_in, line)


def find_home(cls: type) -> ClassHome:
    """The home in whose globals the class's name leads to the class."""
    what = f"the class {cls.__qualname__}"
    if "<" in cls.__qualname__:
        raise FuruImportNameError(
            f"{cls.__module__}.{cls.__qualname__} is defined inside a function, so no other process "
            f"can import it and it has no stable hash",
            hint="define the class at the top level of a module",
        )
    others = []
    fitting = []
    for home in _possible_homes(cls):
        found = attribute(home.namespace, cls.__qualname__)
        if found is not cls:
            others.append(found)
        elif home.file is not None:
            return home
        else:  # a shell also keeps its scripts' classes in its own globals, which have no file
            fitting.append(home)
    if fitting:
        return fitting[0]
    main = sys.modules.get(cls.__module__)
    if cls.__module__ in MAIN and getattr(main, "__file__", None) is None:
        raise nameless(what, cls.__module__, getattr(main, "__dict__", {}))
    raise leads_elsewhere(what, cls.__module__, cls.__qualname__, others)


def _possible_homes(cls: type) -> Iterator[ClassHome]:
    noted = homes.get(cls)
    if noted is not None and noted.namespace.get("__name__") == cls.__module__:
        yield noted
    module = sys.modules.get(cls.__module__)
    if module is not None:
        getattr(module, cls.__qualname__.partition(".")[0], None)  # lets a lazy module load it
        yield home_at(getattr(module, "__dict__", {}))
    for namespace in _other_globals(cls):
        if namespace.get("__name__") == cls.__module__:
            yield home_at(namespace)


def _other_globals(cls: type) -> Iterator[dict[str, Any]]:
    """Globals in which a launcher may have executed a script, and which may be no module's."""
    for value in list(vars(cls).values()):
        if isinstance(value, FunctionType):
            yield value.__globals__
    for home in list(homes.values()):
        yield home.namespace
    # The stack is searched, because a script's enum has no functions that lead to its globals, and
    # the config class that uses it may be another module's.
    for top in sys._current_frames().values():  # noqa: SLF001 - another thread may run the script
        frame: FrameType | None = top
        while frame is not None:
            yield frame.f_globals
            frame = frame.f_back


def leads_elsewhere(
    what: str, module_name: str, qualname: str, found: list[Any]
) -> FuruImportNameError:
    """The error for a class or function whose name leads to something else."""
    other = next((repr(value) for value in found if value is not None), "nothing")
    return FuruImportNameError(
        f"{what} cannot be found by its name: {module_name}.{qualname} is {other[:200]}, so another "
        f"process would import that, and two classes could have one hash",
        hint=f"define it at the top level of its module and leave it there as {qualname}; a class "
        f"that a function makes needs a name of its own there",
    )


def attribute(namespace: dict[str, Any], qualname: str) -> Any:
    """The object that a qualified name leads to in globals; None where there is none."""
    first, *rest = qualname.split(".")
    value = namespace.get(first)
    for part in rest:
        value = getattr(value, part, None)
    return value


def nameless(what: str, module_name: str, namespace: dict[str, Any]) -> FuruImportNameError:
    """The error for a class or function whose module no other process can import."""
    if module_name not in MAIN:
        where = f"the module {module_name!r}, which is not in sys.modules and has no file"
    elif getattr(sys.modules.get(module_name), "__dict__", None) is not namespace:
        where = "text that was executed without saying its file (`__file__`)"
    elif "ipykernel" in sys.modules:
        where = "a notebook cell"
    elif hasattr(sys, "ps1") or "IPython" in sys.modules:
        where = "the interactive prompt"
    elif sys.argv[:1] == ["-c"]:
        where = "the text after `python -c`"
    else:
        where = "a program that is no file"
    return FuruImportNameError(
        f"{what} is defined in {where}, so no other process can import it and it has "
        f"no stable hash",
        hint="move the class into a module, say train.py, and write `from train import ...`",
    )
