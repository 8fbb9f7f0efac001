"""Where bench_samples is found."""

import sys
from pathlib import Path

# The helpers beside this file; tests are no package, and pytest (importmode=importlib) adds no path.
sys.path.insert(0, str(Path(__file__).parent))
