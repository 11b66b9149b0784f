"""A sound distribution, and broken ones of every kind, which one environment holds all at once."""

from __future__ import annotations

from third_party.wheels import Distribution

EXECUTORS, CODECS, COMMANDS, SETTINGS = (
    "furu.executors",
    "furu.codecs",
    "furu.commands",
    "furu.settings",
)

EXECUTOR = """
from furu_core.executors import *
from furu_core.planning import *
from furu_core.workers import *
from furu_core.errors import FuruRunError

class InlineRun(Run):
    def __init__(self, roots):
        self.roots = roots
        self.id, self.folder = new_run_folder("{name}", roots)
        self.failures = []

    def wait(self, timeout=None):
        with worker_session(WorkerContext(executor="{name}", run_id=self.id)):
            for root in self.roots.items:
                self.visit(root)
        if self.failures:
            raise FuruRunError("a node failed", failures=self.failures)
        return self

    def visit(self, node):
        for dependency in dependencies(node):
            self.visit(dependency)
        result = run_node(node)
        if result.failure:
            self.failures.append(result.failure)

    def status(self):
        return RunStatus(RunState.FAILED if self.failures else RunState.DONE)

    def cancel(self):
        pass

class InlineExecutor(Executor):
    name = "{name}"

    def submit(self, roots):
        return InlineRun(named_roots(roots))
"""


def executor(name: str) -> str:
    return EXECUTOR.replace("{name}", name)


FRACTION = """
from fractions import Fraction
from furu_core.codecs import Codec

class FractionCodec(Codec):
    name = "fraction"
    suffix = ".fraction"

    def accepts(self, value):
        return type(value) is Fraction

    def save(self, value, path):
        path.write_text(str(value))

    def load(self, path, version):
        return Fraction(path.read_text())
"""


def fraction(name: str) -> str:
    return FRACTION.replace('"fraction"', f'"{name}"')


COMMAND = """
import click

@click.command()
@click.option("--whom", default="you")
def hello(whom):
    "Say hello."
    click.echo(f"hello {whom}")

@click.command()
def fails():
    "Fail."
    raise ZeroDivisionError("nothing to divide by")
"""

SETTING = """
def normalise(text, base):
    if not text:
        raise ValueError("expected a folder")
    if text == "three":
        return 3
    if text == "zero":
        return 1 / 0
    return str(base / text)
"""

LICENCE = "raise RuntimeError('the licence server is away\\nand what follows is long')\n"

SOUND = Distribution(
    "furu-sound",
    executor("sound") + FRACTION + COMMAND + SETTING,
    {
        EXECUTORS: {"sound": "furu_sound:InlineExecutor"},
        CODECS: {"fraction": "furu_sound:FractionCodec"},
        COMMANDS: {"hello": "furu_sound:hello", "fails": "furu_sound:fails"},
        SETTINGS: {"FURU_SOUND_QUEUE": "furu_sound:normalise"},
    },
    version="1.2",
)


def brings(name: str, code: str, target: str, group: str = EXECUTORS) -> Distribution:
    """A distribution ``furu-NAME`` with one plugin, which is called `name`."""
    module = f"furu_{name.removeprefix('FURU_').replace('-', '_').lower()}"
    return Distribution(module.replace("_", "-"), code, {group: {name: f"{module}:{target}"}})


UNFINISHED = """
from furu_core.executors import Executor
class InlineExecutor(Executor):
    name = "unfinished"
"""

INSTANCE = executor("instance") + "\nmade = InlineExecutor()\n"

BROKEN_EXECUTORS = (
    Distribution(
        "furu-twin-a", executor("twin"), {EXECUTORS: {"twin": "furu_twin_a:InlineExecutor"}}
    ),
    Distribution(
        "furu-twin-b",
        executor("twin"),
        {EXECUTORS: {"twin": "furu_twin_b:InlineExecutor"}},
        version="2.0",
    ),
    brings("crash", LICENCE, "InlineExecutor"),
    brings("exits", "import sys\nsys.exit('use Python 2')\n", "InlineExecutor"),
    brings("function", "def submit(roots):\n    return roots\n", "submit"),
    brings("foreign", "class InlineExecutor:\n    name = 'foreign'\n", "InlineExecutor"),
    brings("instance", INSTANCE, "made"),
    brings("unfinished", UNFINISHED, "InlineExecutor"),
    brings("alias", executor("another"), "InlineExecutor"),
    brings("typo", executor("typo"), "InlineExecuter"),
    Distribution(
        "furu-lost", executor("lost"), {EXECUTORS: {"lost": "furu_lots.pool:InlineExecutor"}}
    ),
    Distribution(
        "furu-dashes", executor("dashes"), {EXECUTORS: {"dashes": "furu-dashes:InlineExecutor"}}
    ),
    Distribution(
        "furu-old",
        executor("old"),
        {EXECUTORS: {"old": "furu_old:InlineExecutor"}},
        ("furu-core<0.1", "furu-plan<0.1"),
    ),
    Distribution(
        "furu-early",
        executor("early"),
        {EXECUTORS: {"early": "furu_early:InlineExecutor"}},
        ("furu_core >= 99 ; python_version >= '3.11'",),
    ),
    Distribution(
        "furu-needy",
        "import no_such_queue\n",
        {EXECUTORS: {"needy": "furu_needy:InlineExecutor"}},
        ("furu-core>=0.1", "no-such-queue[tls]>=2 ; python_version > '3'", "other; extra == 'x'"),
    ),
)

BROKEN_CODECS = (
    *(
        Distribution(f"furu-pair-{one}", FRACTION, {CODECS: {"pair": f"furu_pair_{one}:X"}})
        for one in "ab"
    ),
    brings("quarrel", LICENCE, "FractionCodec", CODECS),
    brings("nocodec", "class FractionCodec:\n    name = 'nocodec'\n", "FractionCodec", CODECS),
    brings("nickname", FRACTION, "FractionCodec", CODECS),
    brings("nosuffix", fraction("nosuffix").replace('".f', '"f'), "FractionCodec", CODECS),
    brings("noload", fraction("noload").replace("def load", "def lode"), "FractionCodec", CODECS),
    brings("needs-more", fraction("needs-more") + "\n    def __init__(self, level):\n        pass\n",
           "FractionCodec", CODECS),
    brings("json", fraction("json"), "FractionCodec", CODECS),
    Distribution("furu-oldcodec", fraction("oldcodec"),
                 {CODECS: {"oldcodec": "furu_oldcodec:FractionCodec"}}, ("furu-core==0.0.9",)),
)  # fmt: skip

BROKEN_COMMANDS = (
    *(
        Distribution(f"furu-both-{one}", COMMAND, {COMMANDS: {"both": f"furu_both_{one}:hello"}})
        for one in "ab"
    ),
    brings("cracked", LICENCE, "hello", COMMANDS),
    brings("leaves", "print('a script')\nraise SystemExit(0)\n", "main", COMMANDS),
    brings("number", "number = 3\n", "number", COMMANDS),
    brings("missing", COMMAND, "helo", COMMANDS),
    Distribution("furu-ls", COMMAND, {COMMANDS: {"ls": "furu_ls:hello"}}),
    Distribution("furu-oldone", COMMAND, {COMMANDS: {"oldone": "furu_oldone:hello"}},
                 ("furu-core~=0.0.1",)),
)  # fmt: skip

BROKEN_SETTINGS = (
    *(
        Distribution(
            f"furu-ours-{one}", SETTING, {SETTINGS: {"FURU_OURS": f"furu_ours_{one}:normalise"}}
        )
        for one in "ab"
    ),
    brings("FURU_SPLIT", LICENCE, "normalise", SETTINGS),
    brings("FURU_THREE", "normalise = 3\n", "normalise", SETTINGS),
    brings("FURU_LEASE_SECS", SETTING, "normalise", SETTINGS),
    brings("lower", SETTING, "normalise", SETTINGS),
)

ALL = (SOUND, *BROKEN_EXECUTORS, *BROKEN_CODECS, *BROKEN_COMMANDS, *BROKEN_SETTINGS)
