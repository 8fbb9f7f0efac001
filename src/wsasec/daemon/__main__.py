"""`python -m wsasec.daemon`."""

import sys

from .main import main

sys.exit(main())
