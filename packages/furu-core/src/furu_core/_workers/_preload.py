"""Preloading what computing a node needs, in a process that forks others."""

from __future__ import annotations


def preload() -> None:
    """Import and read now what the first node of a process needs, so that forked processes need not.

    It starts no thread. It reads only what does not change: the settings, the installed codecs and
    the provenance.

    Example:
        >>> preload()
    """
    # Modules that are imported late would be imported by every child again.
    import shutil  # noqa: F401

    import rich.console  # noqa: F401

    from furu_core import _process_ids, _provenance
    from furu_core._attempts import _records
    from furu_core._codecs import _load, _registry, _store  # noqa: F401
    from furu_core._settings import _settings

    _registry.installed()
    _provenance.process_provenance()
    _settings.settings()
    # The first record that a process writes and reads compiles its format.
    me = _process_ids.this_process()
    record = _records.AttemptRecord(1, "", "", me, 0.0, 1.0)
    _records.RECORD.from_bytes(_records.claim_bytes(record, "null"), "")
