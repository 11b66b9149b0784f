"""Which class somebody means who types its name: one rule for the command line and for settings."""

from __future__ import annotations

from collections.abc import Iterable


def is_called(identity: str, name: str) -> bool:
    """Whether `name` can mean a class: its name, with as much of its module as one likes.

    Args:
        identity: the class as hashes know it.
        name: what was typed; a dot does for the colon.

    Example:
        >>> from furu_core._named_classes import is_called
        >>> [is_called("exp.train:Train", name) for name in ("Train", "train.Train", "rain")]
        [True, True, False]
    """
    whole = f".{identity.replace(':', '.')}"
    return whole.endswith(f".{name.replace(':', '.')}")


def meant(name: str, identities: Iterable[str]) -> list[str]:
    """The classes that `name` means: the one of that whole name, else all that end in it."""
    found = [identity for identity in identities if is_called(identity, name)]
    # Else the class `a:T` could not be named beside `b.a:T`, in which its name ends as well.
    dotted = name.replace(":", ".")
    return [identity for identity in found if identity.replace(":", ".") == dotted] or found


def did_you_mean(name: str, identities: Iterable[str]) -> str:
    """The end of a sentence that names the classes nearest to a name; empty where none is near."""
    from difflib import get_close_matches  # every program that loads a result imports this module

    spelt: dict[str, str] = {}
    for identity in sorted(set(identities)):
        for form in (identity, identity.rpartition(":")[2]):
            spelt.setdefault(form.casefold().replace(":", "."), form)
    asked = name.casefold().replace(":", ".")
    likely = [spelt[form] for form in get_close_matches(asked, spelt, n=3, cutoff=0.6)]
    return f"; did you mean {' or '.join(likely)}?" if likely else ""
