"""Provenance of results: repository, machine, versions, command.

The repository is described as the program that began the run found it. That need not be the code that ran, which may
have been edited since, and which `_code` records. The provenance is the same for every node of a process, so it is captured once, with at most two calls of git. Nothing here ever fails a node: what cannot be found out is left out, and `Git.note`
has the reason.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import attrs

from furu_core._record_format import RecordFormat
from furu_core._settings import _settings
from furu_core._settings._settings import project_root
from furu_core._store._by_content import ContentFolder

FOLDER: Final = ContentFolder("provenance", ".json")
PATCH_LIMIT: Final = 64 * 1024
UNTRACKED_LIMIT: Final = 200
GIT_TIMEOUT_SECS: Final = 5.0


@attrs.frozen
class Git:
    """The state of the project's repository, as the program that began the run found it.

    Attributes:
        root: the repository's folder.
        commit: the commit that is checked out; None before the first one.
        branch: the branch; None when HEAD is detached.
        dirty: whether tracked files differ from the commit.
        patch: how they differ, cut off at `PATCH_LIMIT` characters.
        patch_chars: length of the whole patch.
        untracked: files that git neither tracks nor ignores, at most `UNTRACKED_LIMIT`.
        note: what could not be found out, and why.
    """

    root: str
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    patch: str = ""
    patch_chars: int = 0
    untracked: tuple[str, ...] = ()
    note: str = ""


@attrs.frozen(slots=False)
class Provenance:
    """The provenance that all nodes of one process share.

    Attributes:
        git: the repository of the project; None outside a repository.
        project: the project's folder.
        cwd: the working directory.
        command: the command line of the process that began the run.
        host: name of the machine.
        user: name of the user.
        platform: operating system, release and processor.
        python: version of the interpreter.
        executable: path of the interpreter.
        packages: versions of all installed distributions.
        captured: when this was captured, in UTC.
    """

    git: Git | None
    project: str
    cwd: str
    command: tuple[str, ...]
    host: str
    user: str
    platform: str
    python: str
    executable: str
    packages: Mapping[str, str]
    captured: str

    @cached_property
    def record(self) -> dict[str, Any]:
        """The provenance as JSON, made once per process."""
        return {PROVENANCE.key: PROVENANCE.version, **PROVENANCE.to_json(self)}

    @cached_property
    def record_bytes(self) -> bytes:
        """The JSON of `record` as bytes, to be inserted into a larger JSON text."""
        return PROVENANCE.to_bytes(self)

    def stored_in(self, store: str) -> str:
        """The digest of `record_bytes`; where the store has no such file yet, it is written.

        Raises:
            OSError: it cannot be written.
        """
        digest = self._stored.get(store)
        if digest is None:
            digest = self._stored[store] = FOLDER.store(self.record_bytes)
        return digest

    @cached_property
    def _stored(self) -> dict[str, str]:
        return {}


PROVENANCE: Final = RecordFormat(
    Provenance, "the provenance", version=1, dumps=partial(json.dumps, ensure_ascii=False)
)
_captured: Provenance | None = None


def process_provenance() -> Provenance:
    """The provenance of all that this process computes; captured on the first call.

    Example:
        >>> from furu_core._provenance import process_provenance
        >>> process_provenance() is process_provenance()
        True
    """
    global _captured
    if _captured is None:
        _captured = capture()
    return _captured


def stored_digest() -> str:
    """The digest of this process's provenance, whose file in the current store it names."""
    return process_provenance().stored_in(str(_settings.settings().path))


def read(digest: str) -> dict[str, Any] | None:
    """The provenance with a digest as JSON; None where the current store does not have it."""
    text = FOLDER.read(digest)
    try:
        found: dict[str, Any] | None = None if text is None else json.loads(text)
    except ValueError:
        return None
    return found


def expanded(named: object) -> Any:
    """The provenance that a record names by its digest; that of format 1 stands in the record."""
    return read(named) if isinstance(named, str) else named


def adopt_provenance(record: Mapping[str, Any]) -> None:
    """Use the provenance of the process that started this one, except for machine and user.

    A worker's own command line tells nothing, and its working tree may be another one by now. Which
    code ran is recorded apart from it, by the worker itself.

    Args:
        record: that process's `Provenance.record`.
    """
    global _captured
    _captured = attrs.evolve(
        PROVENANCE.from_json(record), host=_host(), user=_user(), platform=_platform()
    )


def capture() -> Provenance:
    """Capture the provenance of this process anew."""
    from datetime import UTC, datetime  # not needed by workers, which adopt a captured provenance

    try:
        folder = Path.cwd()
    except OSError:  # the working directory was deleted
        folder = Path("/")
    project = _project(folder)
    return Provenance(
        git=_git(project),
        project=str(project),
        cwd=str(folder),
        command=tuple(getattr(sys, "orig_argv", None) or sys.argv),
        host=_host(),
        user=_user(),
        platform=_platform(),
        python=sys.version.split()[0],
        executable=sys.executable or "",
        packages=_packages(),
        captured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _project(cwd: Path) -> Path:
    """The project of the script that runs, else that of the working directory."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main:
        folder = Path(os.path.abspath(main)).parent
        project = project_root(folder)
        marked = any((project / name).exists() for name in ("pyproject.toml", ".git"))
        if marked and not {"site-packages", "bin"} & set(folder.parts[len(project.parts) :]):
            return project
    return project_root(cwd)


def _host() -> str:
    return os.uname().nodename


def _platform() -> str:
    system = os.uname()
    return f"{system.sysname} {system.release} {system.machine}"


def _user() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # containers run under ids that have no name
        return os.environ.get("USER") or str(os.getuid())


def _packages() -> dict[str, str]:
    """All installed distributions, by the names of their folders: no file is read.

    All rather than those of the imported modules: a module does not tell its distribution cheaply,
    and what is imported later, or called by a child process, matters as well.
    """
    # `name-version.dist-info`, and the names that older tools gave; the name itself has no dash.
    distribution = re.compile(r"([^-]+)-([^-]+)(?:-.*)?\.(?:dist|egg)-info$")
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            match = distribution.match(name)
            if match:
                found.setdefault(match[1].replace("_", "-").lower(), match[2])
    return dict(sorted(found.items()))


def _git(project: Path) -> Git | None:
    root = next((f for f in (project, *project.parents) if (f / ".git").exists()), None)
    if root is None:
        return None
    import subprocess

    def run(*args: str) -> str:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false", *args],
            cwd=root,
            # Optional locks would disturb a user who commits at this moment.
            env={**_without_git_variables(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_SECS,
            check=True,
        )
        return done.stdout.decode("utf-8", "replace")

    found = Git(root=str(root))
    try:
        found = _read_status(run("status", "--porcelain=v2", "--branch", "-z"), found)
        if found.dirty and found.commit:
            patch = run("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color")
            found = attrs.evolve(found, patch=patch[:PATCH_LIMIT], patch_chars=len(patch))
        return found
    except subprocess.TimeoutExpired as error:
        note = f"git took longer than {error.timeout:g} s"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        note = lines[0] if lines else f"git ended with {error.returncode}"
    except (OSError, ValueError) as error:  # no git, or no process to run it in
        note = f"{type(error).__name__}: {error}"
    return attrs.evolve(found if found.commit else _read_head(found), note=note)


def _without_git_variables() -> dict[str, str]:
    """The environment without the variables of a git hook, which would name another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _read_status(text: str, found: Git) -> Git:
    """Parse the output of ``git status --porcelain=v2 --branch -z``."""
    commit: str | None = None
    branch: str | None = None
    dirty = False
    untracked: list[str] = []
    entries = iter(text.split("\0"))
    for entry in entries:
        if entry.startswith("# branch.oid "):
            commit = entry.removeprefix("# branch.oid ")
        elif entry.startswith("# branch.head "):
            branch = entry.removeprefix("# branch.head ")
        elif entry.startswith("? "):
            untracked.append(entry[2:])
        elif entry[:2] in {"1 ", "2 ", "u "}:
            dirty = True
            if entry[0] == "2":
                next(entries, None)  # a renamed file is followed by its old name
    return attrs.evolve(
        found,
        commit=None if commit == "(initial)" else commit,
        branch=None if branch == "(detached)" else branch,
        dirty=dirty,
        untracked=tuple(untracked[:UNTRACKED_LIMIT]),
    )


def _read_head(found: Git) -> Git:
    """Commit and branch from git's own files, for when git is missing or too slow."""
    folder = Path(found.root) / ".git"
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return attrs.evolve(found, commit=head)
        ref = head.removeprefix("ref: ")
        found = attrs.evolve(found, branch=ref.removeprefix("refs/heads/"))
        return attrs.evolve(found, commit=(folder / ref).read_text().strip())
    except OSError:  # a worktree, or packed refs, which only git itself reads
        return found
