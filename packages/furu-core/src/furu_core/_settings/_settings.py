"""The settings: one immutable value for the whole process, read once.

A setting comes from `configure` or `use_settings`, else from the environment, else from the table
`[tool.furu]` of the project's `pyproject.toml`, else it has its default. `settings_to_env` turns
all settings into environment variables, so that a worker has the same settings however it was
started and wherever it runs.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import attrs

from furu_core import _text
from furu_core.errors import FuruFrozen, FuruSettingsError

if TYPE_CHECKING:
    import logging

    from furu_core._plugins import InstalledPlugin

PREFIX: Final = "FURU_"
_STORE: Final = "furu-data"
_REMOVED: Final = Path("(the working directory, which was removed)")
TRUST_ALL: Final = "all"
TRUST_LOCAL: Final = "local"
TRUST_OWN: Final = "own"
LIVE: Final = "live"
_CODES: Final = ("snapshot", LIVE)
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# The prefix of furu's own variables for child processes, which carry the execution context.
INTERNAL_PREFIX: Final = "FURU_EXEC_"
COMPLETE: Final = "FURU_SETTINGS_COMPLETE"
INTERNAL_VARIABLES: Final = frozenset({COMPLETE})


def _read_only(mapping: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class Settings:
    """All settings; the variable of each field is `FURU_` plus its name in capitals.

    Attributes:
        path: the store, an absolute path.
        also: further stores, which are only read: what this one lacks is looked for there.
        retry_failed: whether a node that failed before is computed again.
        max_compute_retries: how often a node whose code raised is tried again within a run.
        max_lost_retries: how often in a row a node whose worker died is tried again.
        lease_secs: seconds without a heartbeat after which an attempt counts as dead.
        max_wait_secs: longest wait for another process; None waits as long as that one lives.
        poll_interval_secs: seconds between two looks at what another process computes.
        always_rerun: class names whose nodes are computed anew once per run, or ``ALL``.
        log_level: the level of the logger ``furu``.
        digest_limit: size in bytes above which a file of an artifact gets no digest.
        code_limit: size in bytes above which the source of a module is not kept.
        trash_days: days for which removed results can be put back; 0 removes them at once.
        keep_days: days for which `furu gc` keeps what was made, or needed by a run.
        durable: whether files are synced to the disk before they are published.
        trust_pickles: whose files that run code when loaded are loaded: ``local``, everybody's but those
            that were imported; ``all``; ``own``; or names of users, beside whom one's own are loaded always.
        code: what jobs of a scheduler import of the project: a ``snapshot`` of it, made when they are
            submitted; or ``live``, what is there when they import it.
        snapshot_also: patterns of the names of files that a snapshot has copies of, besides ``*.py``.
        snapshot_limit: size in bytes above which a snapshot has links to files in place of copies; a
            file may have a hundredth of it.
        on_run_end: a shell command that is called when a run has ended, with the run as JSON on its
            standard input; empty for none.
        extra: variables that installed backends own, by their full name.

    Example:
        >>> from furu_core._settings._settings import Settings
        >>> Settings(path="/data/furu").max_compute_retries
        3
    """

    path: Path = attrs.field(converter=Path)
    also: tuple[Path, ...] = ()
    retry_failed: bool = True
    max_compute_retries: int = 3
    max_lost_retries: int = 5
    lease_secs: float = 120.0
    max_wait_secs: float | None = None
    poll_interval_secs: float = 1.0
    always_rerun: frozenset[str] = frozenset()
    log_level: str = "INFO"
    digest_limit: int = 1 << 30
    code_limit: int = 1 << 20
    trash_days: float = 7.0
    keep_days: float = 90.0
    durable: bool = False
    trust_pickles: frozenset[str] = frozenset({TRUST_LOCAL})
    code: str = "snapshot"
    snapshot_also: frozenset[str] = frozenset({"*.cfg", "*.ini", "*.toml", "*.yaml", "*.yml"})
    snapshot_limit: int = 100 << 20
    on_run_end: str = ""
    extra: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)


Parser = Callable[[Any, Path], Any]  # the raw value, and the folder that relative paths start from


def _path(raw: Any, base: Path) -> Path:
    if not isinstance(raw, str | os.PathLike) or not os.fspath(raw):
        raise ValueError
    return Path(os.path.normpath(base / Path(raw).expanduser()))


def _paths(raw: Any, base: Path) -> tuple[Path, ...]:
    parts = raw.split(os.pathsep) if isinstance(raw, str) else list(raw)
    found = tuple(dict.fromkeys(_path(part, base) for part in parts if part != ""))
    if any(os.pathsep in str(path) for path in found):
        raise ValueError
    return found


_WORDS: Final = {"1": True, "true": True, "yes": True, "on": True} | {
    "0": False, "false": False, "no": False, "off": False
}  # fmt: skip


def _flag(raw: Any, _base: Path) -> bool:
    if isinstance(raw, bool):
        return raw
    try:
        return _WORDS[str(raw).strip().lower()]
    except KeyError:
        raise ValueError from None


def _count(raw: Any, _base: Path) -> int:
    if isinstance(raw, bool | float):
        raise TypeError
    number = int(raw)
    if number < 0:
        raise ValueError
    return number


def _seconds(raw: Any, _base: Path) -> float:
    if isinstance(raw, bool):
        raise TypeError
    number = float(raw)
    if not (0 < number < math.inf):
        raise ValueError
    return number


def _optional_seconds(raw: Any, base: Path) -> float | None:
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in {"", "none"}):
        return None
    return 0.0 if not isinstance(raw, bool) and float(raw) == 0 else _seconds(raw, base)


def _days(raw: Any, base: Path) -> float:
    return 0.0 if not isinstance(raw, bool) and float(raw) == 0 else _seconds(raw, base)


def _names(raw: Any, _base: Path) -> frozenset[str]:
    parts = re.split(r"[,\s]+", raw) if isinstance(raw, str) else list(raw)
    if not all(isinstance(part, str) for part in parts):
        raise TypeError
    return frozenset(part for part in parts if part)


class _NoTrust(ValueError):
    """Names of which not all are users, and why."""


def _trust(raw: Any, base: Path) -> frozenset[str]:
    words = (TRUST_ALL, TRUST_LOCAL, TRUST_OWN)
    names = frozenset(name.lower() if name.lower() in words else name for name in _names(raw, base))
    if not names or (len(names) > 1 and not names.isdisjoint({TRUST_ALL, TRUST_LOCAL})):
        raise ValueError
    for name in names.difference(words):
        uid_of(name)
    return names


def uid_of(name: str) -> int:
    """The id of a user.

    Args:
        name: the user's name, or the id in digits, which needs no list of users.

    Raises:
        ValueError: this machine knows no such user.
    """
    if name.isascii() and name.isdigit():
        return int(name)
    import pwd  # hardly any settings name users

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise _NoTrust(
            f"{os.uname().nodename} knows no user {name!r}: `getent passwd {name}` would show it; an id "
            "as `id -u` prints it does as well"
        ) from None


def trust_in(environ: Mapping[str, str]) -> frozenset[str]:
    """What an environment alone says of `trust_pickles`, for a job that has yet to learn its settings.

    Raises:
        FuruSettingsError: the value is bad.
    """
    name = f"{PREFIX}TRUST_PICKLES"
    raw = environ.get(name, TRUST_LOCAL)
    found: frozenset[str] = _parse(name, raw, "trust_pickles", Path())
    return found


def _level(raw: Any, _base: Path) -> str:
    level = str(raw).strip().upper()
    if level not in LEVELS:
        raise ValueError
    return level


def _code(raw: Any, _base: Path) -> str:
    code = str(raw).strip().lower()
    if code not in _CODES:
        raise ValueError
    return code


def _command(raw: Any, _base: Path) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw.strip()


# How each setting is read, and what it expects; a parser raises ValueError or TypeError otherwise.
_KNOWN: Final[Mapping[str, tuple[Parser, str]]] = {
    "path": (_path, "a folder"),
    "also": (_paths, f"folders separated by {os.pathsep}"),
    "retry_failed": (_flag, "1 or 0"),
    "max_compute_retries": (_count, "a whole number from 0 on"),
    "max_lost_retries": (_count, "a whole number from 0 on"),
    "lease_secs": (_seconds, "a number of seconds above 0"),
    "max_wait_secs": (_optional_seconds, "a number of seconds, or none for no limit"),
    "poll_interval_secs": (_seconds, "a number of seconds above 0"),
    "always_rerun": (_names, "class names separated by commas, or ALL"),
    "log_level": (_level, "one of " + ", ".join(LEVELS)),
    "digest_limit": (_count, "a number of bytes"),
    "code_limit": (_count, "a number of bytes"),
    "trash_days": (_days, "a number of days, or 0 to remove at once"),
    "keep_days": (_days, "a number of days"),
    "durable": (_flag, "1 or 0"),
    "trust_pickles": (_trust, "local, all, own, or names of users separated by commas"),
    "code": (_code, "snapshot or live"),
    "snapshot_also": (_names, "patterns of file names separated by commas"),
    "snapshot_limit": (_count, "a number of bytes"),
    "on_run_end": (_command, "a shell command"),
}

_current: Settings | None = None
_variables_of: tuple[Settings, list[tuple[bytes, bytes, bool]]] | None = None
_default_env: dict[str, str] | None = None
_observers: list[Callable[[Settings], None]] = []
_warned: set[str] = set()


def settings() -> Settings:
    """The settings of this process, read on the first call.

    Raises:
        FuruSettingsError: a value is bad, or a name is nearly that of a setting.
    """
    return _current if _current is not None else _install(_first())


def variables() -> list[tuple[bytes, bytes, bool]]:
    """The settings of this process as variables for child processes; callers must not change it.

    Returns:
        Names and values as `os.environb` has them; and whether a process that finds no such variable,
        and reads no `pyproject.toml`, has this value anyway.
    """
    global _variables_of, _default_env
    now = settings()
    if _variables_of is None or _variables_of[0] is not now:
        if _default_env is None:
            _default_env = settings_to_env(Settings(path=Path()))
            del _default_env["FURU_PATH"], _default_env[COMPLETE]
        told = [
            (os.fsencode(name), os.fsencode(value), _default_env.get(name) == value)
            for name, value in settings_to_env(now).items()
        ]
        _variables_of = now, told
    return _variables_of[1]


def _refuse_change(_settings: Settings, name: str, *_value: object) -> None:
    known = [field.name for field in attrs.fields(Settings)]
    hint = (
        f"write configure({name}=...) for the process, `with use_settings({name}=...)` for a while, "
        f"or set FURU_{name.upper()}"
    )
    raise FuruFrozen(
        f"settings().{name} cannot be changed: settings are values",
        hint=hint if name in known else f"there is no such setting; there are {', '.join(known)}",
    )


Settings.__setattr__ = Settings.__delattr__ = _refuse_change  # type: ignore[method-assign,assignment]


def forget() -> None:
    """Let the next call of `settings` read them again."""
    global _current
    _current = None


def put_back(settings: Settings) -> None:
    """Make earlier settings of this process its settings again."""
    if _current is not settings:
        _install(settings)


def configure(**changes: Any) -> Settings:
    """Change settings of this process from code.

    Args:
        changes: fields of `Settings` and their new values; a relative `path` starts from the
            working directory.

    Returns:
        The new settings.

    Raises:
        FuruSettingsError: a name is no setting, or a value does not fit.

    Example:
        >>> import furu_core
        >>> before = furu_core.settings()
        >>> furu_core.configure(max_lost_retries=2).max_lost_retries
        2
        >>> _ = furu_core.configure(max_lost_retries=before.max_lost_retries)
    """
    return _install(_changed(_before(changes), changes))


@contextmanager
def use_settings(**changes: Any) -> Iterator[Settings]:
    """Change settings for as long as a ``with`` block lasts, in all threads; meant for tests."""
    before = _before(changes)
    _install(_changed(before, changes))
    try:
        yield settings()
    finally:
        _install(before)


def on_change(observer: Callable[[Settings], None]) -> None:
    """Call `observer` with the settings whenever they are read or changed."""
    _observers.append(observer)
    if _current is not None:
        observer(_current)


def examined_plugins() -> list[InstalledPlugin]:
    """All settings that other distributions register, each one imported."""
    from furu_core._settings import _plugin_settings

    return _plugin_settings.examined(_fault_of_name)


def settings_to_env(settings: Settings) -> dict[str, str]:
    """All settings as environment variables: a process that starts with them has equal settings.

    Example:
        >>> from furu_core import Settings
        >>> from furu_core.workers import settings_to_env
        >>> settings_to_env(Settings(path="/data/furu"))["FURU_PATH"]
        '/data/furu'
    """
    env = {PREFIX + name.upper(): _show(getattr(settings, name)) for name in _KNOWN}
    return {**env, **settings.extra, COMPLETE: _seal(settings.extra)}


@attrs.define
class _Found:
    """What was read so far.

    Attributes:
        values: settings of furu's own, by field.
        extra: those of other distributions, by variable.
        origins: of each of both, by variable, what gave it.
    """

    values: dict[str, Any]
    extra: dict[str, str] = attrs.field(factory=dict)
    origins: dict[str, str] = attrs.field(factory=dict)


def read(environ: Mapping[str, str], cwd: Path) -> Settings:
    """The settings that an environment and a working directory give.

    Raises:
        FuruSettingsError: a value is bad, or a name is nearly that of a setting.
    """
    found = _read(environ, cwd)
    return Settings(**found.values, extra=found.extra)


def origins() -> dict[str, str]:
    """What gives each setting here, by its variable; those that have their default are left out.

    Raises:
        FuruSettingsError: as for `read`.
    """
    return _read(os.environ, _here()).origins


def _read(environ: Mapping[str, str], cwd: Path) -> _Found:
    project, marker = _find_project(cwd)
    found = _Found({"path": project / _STORE})
    if not project.is_absolute() and "FURU_PATH" not in environ:
        raise FuruSettingsError(
            "the working directory was removed, so nothing tells where the store is",
            hint="go to a folder that is there, or set FURU_PATH to an absolute path",
        )
    if marker is not None and COMPLETE not in environ:
        _read_pyproject(marker, found)
    # Settings are in capitals; any other spelling is only nearly a setting.
    given = {
        name: key.lower() if (key := name[len(PREFIX) :]).isupper() else name
        for name in sorted(environ)
        if name.startswith(PREFIX) and not _is_internal(name)
    }
    strangers = {name: environ[name] for name, key in given.items() if key not in _KNOWN}
    # Values from `settings_to_env` need no plugin to normalise them: looking for the plugins takes
    # a job half as long as all that it imports.
    written = strangers if environ.get(COMPLETE) == _seal(strangers) else {}
    found.extra |= written
    for name, key in given.items():
        if name not in written:
            _read_one(name, environ[name], key, cwd, found)
    return found


def _seal(extra: Mapping[str, str]) -> str:
    """A digest that shows that other distributions' settings are as `settings_to_env` wrote them."""
    return f"{zlib.crc32(repr(sorted(extra.items())).encode()):08x}"


def project_root(cwd: Path) -> Path:
    """The nearest folder upwards with a `pyproject.toml`, else the git root, else `cwd`."""
    return _find_project(cwd)[0]


def _find_project(cwd: Path) -> tuple[Path, Path | None]:
    git: Path | None = None
    for folder in (cwd, *cwd.parents):
        marker = folder / "pyproject.toml"
        if marker.is_file():
            return folder, marker
        if git is None and (folder / ".git").exists():
            git = folder
    return git or cwd, None


def _first() -> Settings:
    """The settings of this process, read for the first time."""
    settings = read(os.environ, _here())
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    # Only a script: with `__spec__`, the module was started by name; else it is a package's command.
    if getattr(main, "__spec__", None) is None and str(script).endswith(".py"):
        refuse_other_store(str(script), settings)
    return settings


def _before(changes: Mapping[str, Any]) -> Settings:
    if _current is None and "path" in changes:
        return read(os.environ, _here())  # the change itself says where the store is
    return settings()


def _here() -> Path:
    """The folder that relative paths start from; a relative path when it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return _REMOVED


def refuse_other_store(file: str, store_of: Settings | None = None) -> None:
    """Refuse to begin a new store while the project that a file belongs to has one elsewhere.

    The store is that of the working directory, so a program started from another directory would
    compute everything again. Where both stores exist, this only warns.

    Args:
        file: the script that runs.
        store_of: the settings; default: those of this process.

    Raises:
        FuruSettingsError: the project has a store elsewhere; the message names both.
    """
    path = (settings() if store_of is None else store_of).path
    if "FURU_PATH" in os.environ:
        return
    here, folder = _here(), Path(os.path.abspath(file)).parent
    if path != project_root(here) / _STORE or project_root(folder) == project_root(here):
        return
    there = read(os.environ, folder).path
    if there == path or not there.is_dir():
        return
    says = f"{file} belongs to {project_root(folder)}, whose store is {there}, but from {here} the store is "
    if path.exists():
        _logger().warning("%s%s; FURU_PATH says which is meant", says, path)
        return
    raise FuruSettingsError(
        f"{says}{path}, which is not there: everything would be computed again",
        hint=f"set FURU_PATH={there} to go on with what is there, or FURU_PATH={path} to begin "
        "a new store",
    )


def _read_pyproject(marker: Path, found: _Found) -> None:
    try:
        text = marker.read_bytes()
    except OSError:
        return  # an unreadable file gives no settings, but still marks the project's root
    if b"furu" not in text:
        return  # most projects set nothing here; then the file need not even parse
    import tomllib

    try:
        table = tomllib.loads(text.decode()).get("tool", {}).get("furu", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FuruSettingsError(
            f"{marker} cannot be read: {error}", hint="correct that file"
        ) from None
    for key, raw in table.items():
        _read_one(f"{key} in [tool.furu] of {marker}", raw, key, marker.parent, found)


def _read_one(said: str, raw: Any, key: str, base: Path, found: _Found) -> None:
    variable = PREFIX + key.upper()
    if key in _KNOWN:
        found.values[key] = _parse(said, raw, key, base)
        found.origins[variable] = said
        return
    from furu_core._settings import (
        _plugin_settings,  # most projects have no settings but furu's own
    )

    plugin = _plugin_settings.find(variable)
    if plugin is None:
        _unknown(said, key, is_table=isinstance(raw, Mapping))
    elif not plugin.broken:
        text = json.dumps(raw) if isinstance(raw, Mapping | list) else str(raw)
        found.extra[variable] = plugin.normalised(f"{said} is {raw!r}", text, base)
        found.origins[variable] = said


def _parse(said: str, raw: Any, key: str, base: Path) -> Any:
    parse, expected = _KNOWN[key]
    try:
        value = parse(raw, base)
    except (ValueError, TypeError) as error:
        why = f" ({error})" if isinstance(error, _NoTrust) else ""
        raise FuruSettingsError(
            f"{said} is {raw!r}, expected {expected}{why}", hint="correct it or leave it out"
        ) from None
    paths = value if key == "also" else [value]
    if any(isinstance(path, Path) and not path.is_absolute() for path in paths):
        raise FuruSettingsError(
            f"{said} is {raw!r}, which counts from the working directory, and that was removed",
            hint="go to a folder that is there, or give an absolute path",
        )
    return value


def _unknown(said: str, key: str, *, is_table: bool) -> None:
    likely = _likely(key)
    if likely is not None:
        name = likely if " in " in said else PREFIX + likely.upper()
        raise FuruSettingsError(
            f"{said} is no setting of furu; did you mean {name}?", hint="rename it or remove it"
        )
    if is_table:
        # A project may be used on machines with different packages, so a table of a package that is
        # not installed here is no mistake.
        _logger().debug("%s belongs to no installed package and is ignored", said)
    elif said not in _warned:
        _warned.add(said)
        known = ", ".join(_KNOWN)
        _logger().warning("%s is no setting of furu and is ignored (known: %s)", said, known)


def _logger() -> logging.Logger:
    import logging  # good settings log nothing

    return logging.getLogger("furu.settings")


def _likely(key: str) -> str | None:
    """The setting that `key` is probably meant for: a misspelling, or its first or last words."""
    from furu_core._settings import _plugin_settings

    names = [*_KNOWN, *(name[len(PREFIX) :].lower() for name in _plugin_settings.names())]
    key = key.lower().removeprefix(PREFIX.lower())
    close = _text.nearest(key, names, cutoff=0.7)
    if close:
        return close[0]
    return next((n for n in names if n.startswith(key + "_") or n.endswith("_" + key)), None)


def _is_internal(name: str) -> bool:
    return name in INTERNAL_VARIABLES or name.startswith(INTERNAL_PREFIX)


def _fault_of_name(variable: str) -> str:
    """What is wrong with the name of a plugin's setting; empty if nothing is."""
    if not variable.startswith(PREFIX) or variable != variable.upper():
        return f"needs a name in capitals that begins with {PREFIX}"
    if variable.removeprefix(PREFIX).lower() in _KNOWN or _is_internal(variable):
        return "has the name of one of furu's own settings"
    return ""


def _changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    values: dict[str, Any] = {}
    for name, raw in changes.items():
        if name == "extra":
            values[name] = dict(raw)
        elif name in _KNOWN:
            values[name] = _parse(name, raw, name, _here())
        else:
            likely = _likely(name)
            raise FuruSettingsError(
                f"{name} is no setting of furu" + (f"; did you mean {likely}?" if likely else ""),
                hint=f"known: {', '.join(_KNOWN)}",
            )
    return attrs.evolve(settings, **values)


def _install(settings: Settings) -> Settings:
    global _current
    _current = settings
    for observer in _observers:
        observer(settings)
    return settings


def _show(value: Any) -> str:
    match value:
        case bool():
            return "1" if value else "0"
        case None:
            return "none"
        case frozenset():
            return ",".join(sorted(value))
        case tuple():
            return os.pathsep.join(map(str, value))
        case _:
            return str(value)
