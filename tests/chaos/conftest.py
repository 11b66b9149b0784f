"""The modules here are a program that the test starts; imported by pytest, they would be there twice."""

collect_ignore = [
    "__init__.py",
    "experiment",
    "faults.py",
    "run.py",
    "findings.py",
    "witness.py",
]
