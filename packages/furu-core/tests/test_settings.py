"""Where settings come from, what they refuse, and that workers get the same ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from furu_core._config._module_names import import_roots
from furu_core._settings import _plugin_settings, _settings
from furu_core._settings._plugin_settings import PluginSetting
from furu_core._settings._settings import Settings, read, settings_to_env
from furu_core.errors import FuruFrozen, FuruSettingsError


def pyproject(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_changing_a_setting_in_place_is_an_error_that_says_how_to_change_it() -> None:
    for name, hint in [("path", r"configure\(path=\.\.\.\)"), ("pth", "no such setting; .*path")]:
        with pytest.raises(FuruFrozen, match=rf"settings\(\)\.{name} cannot be changed.*{hint}"):
            setattr(_settings.settings(), name, "elsewhere")


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = read({}, pyproject(tmp_path, ""))
    assert settings == Settings(
        path=tmp_path / "furu-data",
        retry_failed=True,
        max_compute_retries=3,
        max_lost_retries=5,
        lease_secs=120.0,
        max_wait_secs=None,
        poll_interval_secs=1.0,
        always_rerun=frozenset(),
        log_level="INFO",
        durable=False,
        code="snapshot",
    )


def test_the_store_is_beside_the_nearest_pyproject(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "a" / ".git").mkdir()
    pyproject(tmp_path, "")
    assert read({}, deep).path == tmp_path / "furu-data"


def test_without_a_pyproject_the_store_is_at_the_git_root_else_here(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert read({}, deep).path == deep / "furu-data"
    (tmp_path / ".git").write_text("gitdir: elsewhere")  # as in a linked worktree
    assert read({}, deep).path == tmp_path / "furu-data"


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("FURU_RETRY_FAILED", "0", "retry_failed", False),
        ("FURU_RETRY_FAILED", "Yes", "retry_failed", True),
        ("FURU_MAX_COMPUTE_RETRIES", "0", "max_compute_retries", 0),
        ("FURU_MAX_LOST_RETRIES", "7", "max_lost_retries", 7),
        ("FURU_LEASE_SECS", "0.5", "lease_secs", 0.5),
        ("FURU_MAX_WAIT_SECS", "60", "max_wait_secs", 60.0),
        ("FURU_MAX_WAIT_SECS", "0", "max_wait_secs", 0.0),
        ("FURU_MAX_WAIT_SECS", "none", "max_wait_secs", None),
        ("FURU_POLL_INTERVAL_SECS", "0.1", "poll_interval_secs", 0.1),
        ("FURU_ALWAYS_RERUN", "Train, exp.eval:Eval", "always_rerun", {"Train", "exp.eval:Eval"}),
        ("FURU_ALWAYS_RERUN", "ALL", "always_rerun", {"ALL"}),
        ("FURU_ALWAYS_RERUN", "", "always_rerun", frozenset()),
        ("FURU_LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("FURU_DURABLE", "1", "durable", True),
        ("FURU_CODE", "Live", "code", "live"),
        ("FURU_SNAPSHOT_ALSO", "*.yaml, *.stan", "snapshot_also", {"*.yaml", "*.stan"}),
        ("FURU_SNAPSHOT_LIMIT", "1000", "snapshot_limit", 1000),
        ("FURU_ON_RUN_END", " tell -s 'run' ", "on_run_end", "tell -s 'run'"),
    ],
)
def test_each_variable_sets_its_field(
    tmp_path: Path, variable: str, text: str, field: str, value: object
) -> None:
    assert getattr(read({variable: text}, tmp_path), field) == value


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("FURU_RETRY_FAILED", "maybe", "1 or 0"),
        ("FURU_MAX_COMPUTE_RETRIES", "-1", "a whole number from 0 on"),
        ("FURU_MAX_COMPUTE_RETRIES", "2.5", "a whole number from 0 on"),
        ("FURU_LEASE_SECS", "0", "above 0"),
        ("FURU_LEASE_SECS", "nan", "above 0"),
        ("FURU_LEASE_SECS", "inf", "above 0"),
        ("FURU_MAX_WAIT_SECS", "-3", "or none for no limit"),
        ("FURU_LOG_LEVEL", "loud", "DEBUG"),
        ("FURU_CODE", "frozen", "snapshot or live"),
        ("FURU_PATH", "", "a folder"),
    ],
)
def test_a_bad_value_is_an_error_that_names_variable_value_and_expectation(
    tmp_path: Path, variable: str, text: str, expected: str
) -> None:
    with pytest.raises(FuruSettingsError) as caught:
        read({variable: text}, tmp_path)
    message = str(caught.value)
    assert variable in message
    assert repr(text) in message
    assert expected in message


@pytest.mark.parametrize(
    ("wrong", "likely"),
    [
        ("FURU_PTH", "FURU_PATH"),
        ("FURU_RETRY_FAIL", "FURU_RETRY_FAILED"),
        ("FURU_MAX_RETRIES", "FURU_MAX_LOST_RETRIES"),
        ("FURU_LEASE", "FURU_LEASE_SECS"),
        ("FURU_LOGLEVEL", "FURU_LOG_LEVEL"),
        ("FURU_LOG", "FURU_LOG_LEVEL"),
        ("FURU_MAX_WAIT", "FURU_MAX_WAIT_SECS"),
        ("FURU_path", "FURU_PATH"),
    ],
)
def test_a_near_miss_is_an_error_that_names_the_likely_one(
    tmp_path: Path, wrong: str, likely: str
) -> None:
    with pytest.raises(FuruSettingsError, match=f"{wrong}.*did you mean {likely}"):
        read({wrong: "1"}, tmp_path)


def test_any_other_unknown_variable_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        read({"FURU_BANANAS": "1"}, tmp_path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "FURU_BANANAS is no setting" in caplog.text


def test_what_furu_hands_to_its_children_is_no_unknown_variable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read({"FURU_EXEC_CONTEXT": "{}", "FURU_SETTINGS_COMPLETE": "1"}, tmp_path)
    assert not caplog.records


def test_a_relative_path_counts_from_where_it_is_written(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    pyproject(tmp_path, '[tool.furu]\npath = "store"\n')
    assert read({}, deep).path == tmp_path / "store"
    assert read({"FURU_PATH": "../other"}, deep).path == tmp_path / "other"


def test_the_environment_wins_over_the_pyproject(tmp_path: Path) -> None:
    text = '[tool.furu]\nmax_lost_retries = 1\nretry_failed = false\nalways_rerun = ["A", "B"]\n'
    settings = read({"FURU_MAX_LOST_RETRIES": "2"}, pyproject(tmp_path, text))
    assert settings.max_lost_retries == 2
    assert settings.retry_failed is False
    assert settings.always_rerun == {"A", "B"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.furu]\nlease_secs = true\n", "lease_secs in .*pyproject.toml is True, expected"),
        ("[tool.furu]\nmax_lost_retries = 1.5\n", "expected a whole number"),
        ("[tool.furu]\nlease_sec = 1\n", "lease_sec in .* did you mean lease_secs"),
        ("[tool.furu]\nFURU_PATH = 'x'\n", "FURU_PATH in .* did you mean path"),
        ("[tool.furu\n", "cannot be read"),
    ],
)
def test_a_bad_pyproject_is_an_error_that_names_key_and_file(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(FuruSettingsError, match=message):
        read({}, pyproject(tmp_path, text))


def test_a_pyproject_without_furu_need_not_even_parse(tmp_path: Path) -> None:
    assert read({}, pyproject(tmp_path, "[[[")).max_lost_retries == 5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"always_rerun": frozenset({"A", "b.c:D"}), "max_wait_secs": 0.0, "durable": True},
        {"path": "/x y/ü", "lease_secs": 0.1 + 0.2, "retry_failed": False, "log_level": "ERROR"},
    ],
)
def test_a_worker_gets_equal_settings_whatever_its_folder_says(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    mine = attrs.evolve(Settings(path=tmp_path / "store"), **changes)  # type: ignore[arg-type]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pyproject(elsewhere, "[tool.furu]\nmax_wait_secs = 5\nlease_secs = 1\nbroken_key_here = 1\n")
    assert read(settings_to_env(mine), elsewhere) == mine


def test_a_backend_owns_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def normalise(text: str, base: Path) -> str:
        if not text:
            raise ValueError("expected a folder")
        return str(base / text)

    monkeypatch.setattr(_plugin_settings, "known", {})
    _plugin_settings.known["FURU_QUEUE_PATH"] = PluginSetting("furu-queue 1.0", normalise)
    settings = read({"FURU_QUEUE_PATH": "q"}, tmp_path)
    assert settings.extra == {"FURU_QUEUE_PATH": str(tmp_path / "q")}
    assert read(settings_to_env(settings), Path("/")).extra == settings.extra
    with pytest.raises(FuruSettingsError, match="FURU_QUEUE_PATH is '': expected a folder"):
        read({"FURU_QUEUE_PATH": ""}, tmp_path)
    with pytest.raises(FuruSettingsError, match="did you mean FURU_QUEUE_PATH"):
        read({"FURU_QEUE_PATH": "q"}, tmp_path)


def test_a_backends_table_travels_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.furu.queue.specs.gpu]\ntime_min = 5\n")
    monkeypatch.setattr(_plugin_settings, "known", {})
    assert read({}, tmp_path).extra == {}  # one project serves machines without that backend
    assert not caplog.records
    _plugin_settings.known["FURU_QUEUE"] = PluginSetting("furu-queue 1.0", lambda text, _base: text)
    settings = read({}, tmp_path)
    assert json.loads(settings.extra["FURU_QUEUE"]) == {"specs": {"gpu": {"time_min": 5}}}
    assert read(settings_to_env(settings), Path("/")).extra == settings.extra


def test_a_worker_asks_nobody_for_settings_that_furu_has_written_and_for_others_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def normalise(text: str, base: Path) -> str:
        asked.append(text)
        return str(base / text)

    monkeypatch.setattr(_plugin_settings, "known", {})
    _plugin_settings.known["FURU_QUEUE_PATH"] = PluginSetting("furu-queue 1.0", normalise)
    given = settings_to_env(read({"FURU_QUEUE_PATH": "q"}, tmp_path))
    assert asked == ["q"]
    assert read(given, Path("/")).extra == {"FURU_QUEUE_PATH": str(tmp_path / "q")}
    assert asked == ["q"]
    # A job's own setup has changed it, or set another one.
    assert read({**given, "FURU_QUEUE_PATH": "r"}, Path("/")).extra == {"FURU_QUEUE_PATH": "/r"}
    assert asked == ["q", "r"]
    with pytest.raises(FuruSettingsError, match="did you mean FURU_QUEUE_PATH"):
        read({**given, "FURU_QEUE_PATH": "q"}, tmp_path)


def test_use_changes_settings_for_the_block_only(tmp_path: Path) -> None:
    before = _settings.settings()
    with _settings.use_settings(path=tmp_path, max_lost_retries=1) as inside:
        assert _settings.settings() is inside
        assert (inside.path, inside.max_lost_retries) == (tmp_path, 1)
    assert _settings.settings() is before


def test_P7_a_script_run_from_elsewhere_begins_no_new_store_beside_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    for folder in (mine / "exp", elsewhere):
        folder.mkdir(parents=True)
    (mine / "pyproject.toml").write_text("[tool.furu]\npath = 'results'")
    script = ModuleType("__main__")
    script.__file__ = "../mine/exp/train.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(_settings, "_current", None)
    monkeypatch.delenv("FURU_PATH", raising=False)
    monkeypatch.chdir(elsewhere)
    here = elsewhere / "furu-data"

    def path() -> Path:
        _settings.forget()
        return _settings.settings().path

    assert path() == here, "nothing is there to be computed again"
    (mine / "results").mkdir()
    for _ in range(2):
        with pytest.raises(FuruSettingsError) as caught:
            path()
        assert f"whose store is {mine}/results" in str(caught.value)
        assert f"set FURU_PATH={mine}/results to go on" in caught.value.hint
    with _settings.use_settings(path="said"):
        assert _settings.settings().path == elsewhere / "said"
    here.mkdir()
    assert path() == here
    assert f"from {elsewhere} the store is {here}; FURU_PATH says which" in caplog.text
    here.rmdir()
    monkeypatch.setenv("FURU_PATH", str(here))
    assert path() == here
    monkeypatch.delenv("FURU_PATH")
    monkeypatch.chdir(mine)
    assert path() == mine / "results"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_lost_retrys": 1}, "did you mean max_lost_retries"),
        ({"lease_secs": -1}, "lease_secs is -1, expected a number of seconds above 0"),
    ],
)
def test_settings_in_code_are_checked_like_the_others(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(FuruSettingsError, match=message):
        _settings.configure(**changes)


def test_from_a_removed_working_directory_an_absolute_path_is_all_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(_settings, "_current", None)
    for given, says in (
        (None, "the working directory was removed"),
        ("here", "FURU_PATH is 'here'"),
    ):
        monkeypatch.delenv("FURU_PATH", raising=False)
        if given is not None:
            monkeypatch.setenv("FURU_PATH", given)
        with pytest.raises(FuruSettingsError, match=says) as refused:
            _settings.settings()
        assert "go to a folder that is there" in str(refused.value)
    monkeypatch.setenv("FURU_PATH", str(tmp_path))
    assert _settings.settings().path == tmp_path
    with pytest.raises(FuruSettingsError, match="path is 'here', which counts from"):
        _settings.configure(path="here")
    monkeypatch.syspath_prepend("")
    assert all(Path(root).is_absolute() for root in import_roots())
