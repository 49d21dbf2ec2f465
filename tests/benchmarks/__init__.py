"""What the product costs on a machine: `python -m tests.benchmarks.texturing --help`.

A package of its own with relative imports, so that pytest and `python -m` import it alike without a path.
"""
