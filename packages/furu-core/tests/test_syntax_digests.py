"""What changes the digest of a source, and what does not."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from furu_core._code import _syntax

# What these say is the same under every Python; a change of it makes all code in stores look changed.
GOLDEN = {
    "": "28872723b331201a7a5a20b21de84d70",
    "x = 1": "d06632d3d5956bda597ec8767ec674c1",
    "def f(a, /, b: int = 3, *c, d, e=None, **g) -> str: return f'{a!r:>{b}} {c=}' 'x' '\\xe9\\u0378'": "964368b6c71a3de3013dd17788fdb511",
    "class A(B, metaclass=C):\n    x: int = -1.5e3j\n    @d(1)\n    async def f(self): await g()": "784a03d20a951a3537b7ff6ebb97486c",
    "match x:\n    case {'a': [1, *_], **r} | A(b=None) if r: pass\n    case _: raise E from None": "fd04e30440db83ee9750da48198a7c51",
    "try:\n    with a as (b, c), d: del b\nexcept* E as e: global q\nelse: x[1:2, ...] @= {**y, 1: {*z}}": "139e64bd39e20aa00e4bb8d490cf4670",
    "a = b = lambda *x, y=1: (yield x) if y else [i async for i in z if i < 3 < 4]": "d6d0e0afebcb8873ee7da48d38fcb397",
}


def digest(source: str) -> str:
    return _syntax.read_syntax(source.encode())[0]


@pytest.mark.parametrize("source", GOLDEN)
def test_p9_the_digest_of_a_source_is_the_same_under_every_python(source: str) -> None:
    assert digest(source) == GOLDEN[source]


def other_pythons() -> list[str]:
    found = sorted(Path.home().glob(".pyenv/versions/3.1[1-9].*/bin/python"))
    return [str(path) for path in found]


@pytest.mark.parametrize("python", other_pythons())
def test_p9_other_pythons_of_this_machine_give_the_same_digests(python: str) -> None:
    root = Path(_syntax.__file__).parents[2]
    attrs = Path(sys.modules["attrs"].__file__ or "").parents[1]
    code = dedent(f"""\
        import sys
        sys.path[:0] = [{str(root)!r}, {str(attrs)!r}]
        from furu_core._code._syntax import read_syntax
        for source in {list(GOLDEN)!r}:
            print(read_syntax(source.encode())[0])
        print(read_syntax(open({_syntax.__file__!r}, 'rb').read())[0])
        """)
    done = subprocess.run(
        [python, "-S", "-P", "-c", code], capture_output=True, text=True, check=True
    )
    own = digest(Path(_syntax.__file__).read_text())
    assert done.stdout.split() == [*GOLDEN.values(), own]


SAME = [
    ("x = 1", "x = 1  # one"),
    ("x = 1", "\n\n# -*- coding: utf-8 -*-\nx   =   (1)\n\n"),
    ("x = 'a'", 'x = """a"""'),
    ("x = 'a'", "x = u'a'"),
    ("x = f'{a}b' 'c'", "x = f'{a}' f'bc' ''"),
    ("x = 255", "x = 0xff"),
    ("def f(): return 1", "def f():\n    '''Docs.'''\n    return 1"),
    ("def f(): pass", "def f():\n    '''Docs.'''"),
    ("class A:\n    x: int = 1", "class A:\n    '''Docs.'''\n    x: int = 1\n    '''More docs.'''"),
    ("import a", "'''Docs.'''\nimport a\npass"),
    ("x = 1", "x = 1\nif __name__ == '__main__':\n    x = 2\n    print(x)"),
    ("if a: b", "if a: b\nelse: pass"),
    ("x: 'int' = 1", 'x: "int" = 1'),
]
DIFFERENT = [
    ("x = 1", "x = 2"),
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = True"),
    ("x = 'a'", "x = b'a'"),
    ("x = None", "x = ..."),
    ("x = {None: a}", "x = {**a}"),
    ("def f(*, a): g", "def f(*, a=None): g"),
    ("def f(a=1): g", "def f(a=2): g"),
    ("def f(a, b=1): g", "def f(a=1, *, b): g"),
    ("def f(): g", "async def f(): g"),
    ("def f(): g", "@d\ndef f(): g"),
    ("@d\n@e\ndef f(): g", "@e\n@d\ndef f(): g"),
    ("x: int", "x: int = f''"),
    ("return_ = f''", "return_ = ''"),
    ("a\nb", "b\na"),
    ("if a: b", "while a: b"),
    ("if a: b\nc", "if a:\n    b\n    c"),
    ("a = b", "b = a"),
    ("a.b", "a().b"),
    ("a[b]", "a(b)"),
    ("a < b", "a > b"),
    ("a - b - c", "a - (b - c)"),
    ("f(a, *b)", "f(*a, b)"),
    ("f(a=b)", "f(a)(b)"),
    ("from a import b", "from .a import b"),
    ("from a import b", "from a import b as c"),
    ("x = 'name'", "x = name"),
    ("x = 'Name x '", "x = x"),
    ("x = f'{a}'", "x = f'{a!r}'"),
    ("x = f'{a:b}'", "x = f'{a}b'"),
    ("match a:\n    case None: b", "match a:\n    case _: b"),
    ("[a for a in b]", "(a for a in b)"),
    ("if __name__ == '__main__': a", "if __name__ == '__main__': a\nelse: b"),
    ("if __name__ == '__main__':\n    a", "if __name__ != '__main__':\n    a"),
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_p9_what_changes_no_meaning_changes_no_digest(first: str, second: str) -> None:
    assert digest(first) == digest(second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_p9_what_changes_the_meaning_changes_the_digest(first: str, second: str) -> None:
    assert digest(first) != digest(second)


def test_an_expression_of_many_terms_has_a_digest() -> None:
    assert digest("x = " + " + ".join(["1"] * 800)) != digest("x = " + " + ".join(["1"] * 801))
    assert digest(f"x = {'1' * 4000}") != digest(f"x = {'1' * 3999}2")


@pytest.mark.parametrize("source", ["def", "x = '\0'", "(" * 5000])
def test_what_is_no_python_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=": "):
        digest(source)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a, b.c as d", {"a", "b.c"}),
        ("from a.b import c, d as e", {"a.b", "a.b.c", "a.b.d"}),
        ("from . import c", {".", ".c"}),
        ("from ..a import *", {"..a", "..a.*"}),
        ("def f():\n    class A:\n        import a", {"a"}),
        ("importlib.import_module('a.b')\n__import__('c')\nimport_module(d)", {"a.b", "c", "?"}),
        ("pydoc.locate(d)\nrun(d)", {"?"}),
        ("if __name__ == '__main__':\n    import a", set()),
    ],
)
def test_what_a_source_may_import_is_found(source: str, names: set[str]) -> None:
    assert set(_syntax.read_syntax(source.encode())[1]) == names


def test_p9_warnings_that_are_errors_change_no_digest() -> None:
    source = rb'X = "\d"'
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = _syntax.read_syntax(source)
        warnings.simplefilter("error")
        assert _syntax.read_syntax(source) == wanted


BEFORE = """
import a

LIMIT = 3

def helper(x): return x + 1

class Encoder(Base):
    size: int = 3

    @property
    def width(self): return 1

    @width.setter
    def width(self, value): self.x = value

    def forward(self, x):
        def inner(): return 2
        return inner() + x

    class Inner:
        def f(self): return 1

if a:
    def late(): return 1
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("x + 1", "x + 2", ("helper",)),
        ("size: int = 3", "size: int = 4", ("Encoder",)),
        ("return inner() + x", "return inner() - x", ("Encoder.forward",)),
        ("return 2", "return 3", ("Encoder.forward",)),
        ("self.x = value", "self.y = value", ("Encoder.width",)),
        ("def f(self): return 1", "def f(self): return 2", ("Encoder.Inner.f",)),
        ("LIMIT = 3", "LIMIT = 4", ("<module>",)),
        ("def late(): return 1", "def late(): return 2", ("<module>",)),
        ("def helper(x): return x + 1", "", ("helper",)),
        (
            "def forward(self",
            "def backward(self",
            ("Encoder.backward", "Encoder.forward"),
        ),
        ("LIMIT = 3", "LIMIT = 3  # it is", ()),
    ],
)
def test_p9_functions_and_classes_that_changed_are_named(
    old: str, new: str, changed: tuple[str, ...]
) -> None:
    assert old in BEFORE
    after = BEFORE.replace(old, new)
    assert _syntax.changes(BEFORE.encode(), after.encode()) == changed


# Random modules and edits

names = st.sampled_from(["a", "b", "size", "value"])
constants = st.one_of(
    st.integers(-99, 99), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.booleans(), st.none(), st.binary(max_size=3),
)  # fmt: skip
expressions = st.recursive(
    names | constants.map(repr),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "<", "and", "@"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        st.lists(inner, max_size=3).map(lambda parts: f"f({', '.join(parts)})"),
        st.tuples(names, inner).map(lambda pair: f"(lambda {pair[0]}: {pair[1]})"),
    ),
    max_leaves=4,
)
simple = st.one_of(
    st.tuples(names, expressions).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    expressions.map(lambda value: f"g({value})"),
)
blocks = st.recursive(
    st.lists(simple, min_size=1, max_size=3).map("\n".join),
    lambda inner: st.one_of(
        st.tuples(expressions, inner).map(lambda pair: f"if {pair[0]}:\n{indent(pair[1], '    ')}"),
        st.tuples(names, expressions, inner).map(
            lambda three: f"@d\ndef {three[0]}(x={three[1]}):\n{indent(three[2], '    ')}"
        ),
        st.tuples(names, inner).map(lambda pair: f"class {pair[0]}:\n{indent(pair[1], '    ')}"),
        st.tuples(inner, inner).map("\n".join),
    ),
    max_leaves=5,
)


class WithDocs(ast.NodeTransformer):
    """Gives every function and class a docstring, or another one."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body.insert(0, ast.Expr(ast.Constant("Docs.")))
        return node


def quiet_edits(source: str) -> dict[str, str]:
    lines = source.splitlines()
    return {
        "comment": "# first\n" + "\n".join(f"{line}  # why" for line in lines),
        "blank line": "\n\n".join(lines) + "\n\n\n",
        "formatting": ast.unparse(ast.parse(source)).replace("    ", "  "),
        "docstring": ast.unparse(ast.fix_missing_locations(WithDocs().visit(ast.parse(source)))),
    }


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_p9_comments_docstrings_blank_lines_and_formatting_change_no_digest(source: str) -> None:
    expected = digest(source)
    for kind, edited in quiet_edits(source).items():
        assert digest(edited) == expected, kind


class Edits(ast.NodeTransformer):
    """Makes one edit at the place of a number, counted through constants, bodies, defaults and decorators."""

    def __init__(self, place: int) -> None:
        self.left = place
        self.done = ""

    def is_here(self) -> bool:
        self.left -= 1
        return self.left == -1

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Constant) and self.is_here():
            self.done = "constant"
            return ast.Constant("something else that no module has")
        if isinstance(node, ast.FunctionDef | ast.If | ast.ClassDef) and self.is_here():
            self.done = "body"
            node.body.append(ast.parse("another(1)").body[0])
        if isinstance(node, ast.FunctionDef) and self.is_here():
            self.done = "default"
            node.args.defaults = [ast.Constant("another default")]
        if isinstance(node, ast.FunctionDef) and self.is_here():
            self.done = "decorator"
            node.decorator_list.append(ast.Name("another", ast.Load()))
        return node


@settings(max_examples=100, deadline=None)
@given(blocks, st.integers(0, 30))
def test_p9_constants_bodies_defaults_and_decorators_change_the_digest(
    source: str, place: int
) -> None:
    edits = Edits(place)
    edited = ast.unparse(ast.fix_missing_locations(edits.visit(ast.parse(source))))
    assert (digest(edited) == digest(source)) is (edits.done == ""), edits.done
