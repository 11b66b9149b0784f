"""Which results are stale: made of other results, or by other code, than what is there now.

Staleness is found out when somebody asks, and changes nothing: a stale result is loaded as any other.
A dependency that was computed again with an equal result makes nobody stale, and neither does one
that was removed: nothing tells what it would be now.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from furu_core._config._objects import ConfigObject
from furu_core._explain._code_states import ChangedModule, CodeState, CodeStates
from furu_core._status import _stored_nodes
from furu_core._status._links import ATTEMPT, LinkReader, Links
from furu_core._status._stored_nodes import StoredNode
from furu_core._text import count

_EXAMPLES: Final = 3  # of replaced dependencies, in one line


@attrs.frozen
class Replaced:
    """A dependency of which another result is there now than the one that was used.

    Attributes:
        node: the dependency.
        is_compared: whether both results have a digest; without, it is only known that it was
            computed again.
    """

    node: StoredNode
    is_compared: bool


@attrs.frozen
class Staleness:
    """Why a result is stale, if it is.

    Attributes:
        replaced: the dependencies of which it used another result.
        code: the modules of its code that changed since.
        rests_on: a stale result among its dependencies and theirs; None where there is none.
    """

    replaced: tuple[Replaced, ...] = ()
    code: tuple[ChangedModule, ...] = ()
    rests_on: StoredNode | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it would load or run something else today than it did."""
        return bool(self.replaced or self.code)

    @property
    def reasons(self) -> list[str]:
        """Why, each in a few words."""
        told = [
            f"used another result of {found.node.name}"
            if found.is_compared
            else f"older than {found.node.name}, which was computed again"
            for found in self.replaced
        ]
        if self.code:
            told.append(f"by other code: {', '.join(one.text for one in self.code)} changed")
        if self.rests_on is not None:
            told.append(f"rests on {self.rests_on.name}, which is stale")
        return told


_FRESH: Final = Staleness()


@attrs.frozen
class StaleNodes:
    """The stale results among some.

    Attributes:
        stale: those that are stale, with the reasons.
        resting: those that are not, and depend on a result that is.
        complete: whether there was time to look at all.
    """

    stale: Mapping[StoredNode, Staleness]
    resting: Mapping[StoredNode, Staleness]
    complete: bool = True

    @property
    def sentence(self) -> str:
        """How many, and why, in one line; empty where there is none."""
        if not self.stale and not self.resting:
            return ""
        parts = []
        if self.stale:
            verb = "is" if len(self.stale) == 1 else "are"
            parts.append(f"{count(len(self.stale), 'result')} {verb} stale ({self._why()})")
        if number := len(self.resting):
            more = "more " if self.stale else ""
            parts.append(f"{number} {more}{'rests' if number == 1 else 'rest'} on stale results")
        return ("" if self.complete else "at least ") + ", ".join(parts)

    @property
    def listing(self) -> str:
        """The command that lists them one by one, those in stores of `FURU_ALSO` included where there are some."""
        is_elsewhere = any(node.cls.further is not None for node in {**self.stale, **self.resting})
        return "furu ls --stale --also" if is_elsewhere else "furu ls --stale"

    def to_json(self) -> dict[str, Any]:
        """The hashes of these results and the reasons, as JSON values."""
        return {
            "stale": {node.hash: why.reasons for node, why in self.stale.items()},
            "resting": {node.hash: why.reasons for node, why in self.resting.items()},
        }

    def _why(self) -> str:
        replaced = Counter(why.replaced[0].node.name for why in self.stale.values() if why.replaced)
        named = replaced.most_common(_EXAMPLES)
        told = [f"{number} used another {name}" for name, number in named]
        if others := replaced.total() - sum(number for _, number in named):
            told.append(f"{others} used other results")
        if coded := len(self.stale) - replaced.total():
            told.append(f"{coded} {'is' if coded == 1 else 'are'} by other code")
        return ", ".join(told)


class StalenessReader:
    """Finds out which results are stale; it reads each record once, and sees the store as it was then."""

    def __init__(self, links: LinkReader | None = None, code: CodeStates | None = None) -> None:
        self._links = LinkReader() if links is None else links
        self._code = CodeStates() if code is None else code
        self._found: dict[str, Staleness] = {}

    def of(self, node: StoredNode) -> Staleness:
        """Whether and why a result is stale."""
        self._look(node, math.inf)
        return self._found.get(node.hash, _FRESH)

    def among(self, nodes: Iterable[StoredNode], *, within_secs: float = math.inf) -> StaleNodes:
        """Those of some results that are stale, or rest on one that is.

        Args:
            nodes: which.
            within_secs: time after which nothing more is looked at.
        """
        end = time.monotonic() + within_secs
        judged: list[tuple[StoredNode, Staleness]] = []
        for node in nodes:
            if not self._look(node, end):
                return attrs.evolve(_sorted_out(judged), complete=False)
            judged.append((node, self._found.get(node.hash, _FRESH)))
        return _sorted_out(judged)

    def in_graph(self, roots: Iterable[StoredNode], *, within_secs: float = math.inf) -> StaleNodes:
        """Those of some results and of all that they were made of.

        Args:
            roots: where to start.
            within_secs: time after which nothing more is looked at.
        """
        end = time.monotonic() + within_secs
        complete = all(self._look(root, end) for root in roots)
        looked = [(self._links.of(node_hash), why) for node_hash, why in self._found.items()]
        found = _sorted_out((links.node, why) for links, why in looked if links is not None)
        return attrs.evolve(found, complete=complete)

    def _look(self, node: StoredNode, end: float) -> bool:
        """Judge a result after all that it was made of; whether there was time for that."""
        start = self._links.at(node)
        if start is None or node.hash in self._found:
            return True
        # A list in place of recursion: chains of nodes are long.
        stack = [(start, iter(start.below))]
        path = {node.hash}
        while stack:
            if time.monotonic() > end:
                return False
            links, below = stack[-1]
            for node_hash in below:
                if node_hash in self._found or node_hash in path:
                    continue
                found = self._links.of(node_hash)
                if found is not None:
                    stack.append((found, iter(found.below)))
                    path.add(node_hash)
                    break
            else:
                stack.pop()
                path.discard(links.node.hash)
                self._found[links.node.hash] = self._judge(links)
        return True

    def _judge(self, links: Links) -> Staleness:
        replaced = []
        rests_on = None
        for node_hash in links.below:
            below = self._links.of(node_hash)
            if below is None:
                continue
            then = links.used.get(node_hash, "")
            if then and below.digest and below.digest != then:
                compared = not (then.startswith(ATTEMPT) or below.digest.startswith(ATTEMPT))
                replaced.append(Replaced(below.node, compared))
            why = self._found.get(node_hash, _FRESH)
            if rests_on is None:
                rests_on = below.node if why.is_stale else why.rests_on
        code = self._code.of(links.node.cls.name, links.code) if links.code else CodeState()
        return Staleness(tuple(replaced), code.changed, rests_on)


def _sorted_out(judged: Iterable[tuple[StoredNode, Staleness]]) -> StaleNodes:
    stale, resting = {}, {}
    for node, why in judged:
        if why.is_stale:
            stale[node] = why
        elif why.rests_on is not None:
            resting[node] = why
    return StaleNodes(stale, resting)


def stale_results(objs: Iterable[ConfigObject], *, within_secs: float = math.inf) -> StaleNodes:
    """The stale results of some objects and of all that these were made of.

    Args:
        objs: where to start; those without a result do not count.
        within_secs: time after which nothing more is looked at.

    Example:
        >>> from furu_core.planning import stale_results
        >>> stale_results([]).sentence
        ''
    """
    nodes = (_stored_nodes.node_of(obj) for obj in objs)
    return StalenessReader().in_graph(nodes, within_secs=within_secs)
