"""``python -m partnerface``."""

import sys

from partnerface.cli.main import main

sys.exit(main())
