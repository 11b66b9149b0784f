"""The layout of the store: where everything is on disk.

::

    <store>/data/<module path>/<Class>/<hash>/              the artifact
    <store>/data/<module path>/<Class>/<hash>/.furu/        what furu keeps with it
    <store>/data/<module path>/<Class>/.attempts/<hash>/<n>/  attempt n, see `_attempts`
    <store>/runs/<run id>/                                  one folder per executor run
    <store>/raw/                                            files shared by all nodes

Paths are plain strings: in a cache hit, a `pathlib.Path` would cost more than reading the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from furu_core._config._objects import config_class
from furu_core._settings import _settings

if TYPE_CHECKING:
    from furu_core._config._objects import ConfigObject

META: Final = ".furu"
ATTEMPTS: Final = ".attempts"
SUBMISSION: Final = "submission.json"
CHECKPOINT: Final = "checkpoint"
VIOLATIONS: Final = "violations"
CONFIG_FILE: Final = "config.json"
METADATA_FILE: Final = "metadata.json"
LOG_FILE: Final = "furu.log"


@attrs.frozen(slots=True)
class NodePaths:
    """The folders of one node.

    Attributes:
        class_dir: the folder of the node's class.
        hash: the node's hash.
    """

    class_dir: str
    hash: str

    @property
    def artifact(self) -> str:
        """The folder that exists if and only if the result is complete."""
        return f"{self.class_dir}/{self.hash}"

    @property
    def attempts(self) -> str:
        """The folder of the node's attempts."""
        return f"{self.class_dir}/{ATTEMPTS}/{self.hash}"

    @property
    def class_attempts(self) -> str:
        """The folder of the attempts of all nodes of the class."""
        return f"{self.class_dir}/{ATTEMPTS}"


def node_paths(obj: ConfigObject) -> NodePaths:
    """The folders of `obj` in the current store."""
    folder = f"{_settings.settings().path}/data/{obj.__furu_class__.relpath}"
    return NodePaths(folder, obj.furu_hash)


def class_dir(cls: type) -> str:
    """The folder of a config class in the current store."""
    relpath = config_class(cls).relpath
    return f"{_settings.settings().path}/data/{relpath}"


def runs_dir() -> str:
    """The folder of all runs in the current store."""
    return f"{_settings.settings().path}/runs"
