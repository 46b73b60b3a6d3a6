"""Run `agent-brain` as `python -m agent_brain_cli`."""

import sys

from agent_brain_cli.cli import main

sys.exit(main())
