"""`python -m benchmarks.illustrate`: what `python -m benchmarks illustrate` was called in the first version."""

import sys

from benchmarks.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "illustrate")
    main()
