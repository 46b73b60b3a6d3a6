"""Run `agent-brain`: the relay of `agent-brain mcp` at once, everything else with Click.

An agent's host starts the relay with every session. Without Click and the command line it needs a third of the CPU.
"""

import sys


def main() -> int:
    """Run the command line of the process and return its exit code."""
    if sys.argv[1:2] == ["mcp"]:
        from agent_brain_cli import relay  # noqa: PLC0415 - see the module's docstring

        options = relay.parse_options(sys.argv[2:])
        if options is not None:
            try:
                relay.serve(*options)
            except KeyboardInterrupt:
                return relay.EXIT_INTERRUPTED
            return 0
    from agent_brain_cli.cli import main as run_command_line  # noqa: PLC0415 - see the module's docstring

    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
