"""`python -m agent_brain_cli` is `agent-brain`."""

import sys

from agent_brain_cli.cli import main

sys.exit(main())
