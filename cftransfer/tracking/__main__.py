"""python -m cftransfer.tracking sync multirun/…: upload offline runs; … dashboard: make the project's workspace."""

import argparse
import sys
from pathlib import Path

from cftransfer.errors import as_command


def command() -> None:
    """Parse the arguments and run the action; a mistake of the user is one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m cftransfer.tracking", description="W&B runs of jobs, afterwards.")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser(
        "sync", help="upload runs that were offline or lost their server; list runs that are already there"
    )
    up.add_argument("folder", nargs="+", type=Path, help="job folders, or folders that contain them at any depth")
    board = actions.add_parser("dashboard", help="make the workspace of a project (needs wandb-workspaces)")
    board.add_argument("--project", default="cftransfer", help="W&B project; default: cftransfer")
    board.add_argument("--entity", help="W&B user or team; default: yours")
    board.add_argument("--knob", default="model.layers", help="the swept setting, as x-axis; default: model.layers")
    board.add_argument("--name", default="cftransfer", help="the workspace's name; default: cftransfer")
    board.add_argument("--dry-run", action="store_true", help="print its specification as JSON, without contacting W&B")
    options = vars(parser.parse_args())
    try:
        with as_command("cftransfer.tracking"):
            status = _done(options.pop("action"), options)
        sys.exit(status)
    except KeyboardInterrupt:
        print("cftransfer.tracking: interrupted; the same command goes on where this one ended", file=sys.stderr)
        sys.exit(130)


def _done(action: str, options: dict) -> int:
    """Run the action and return the exit status."""
    from cftransfer.tracking.connection import check_server

    check_server()
    if action == "sync":
        from cftransfer.tracking.sync import sync

        return 1 if sync(options["folder"]) else 0
    from cftransfer.tracking.dashboard import dashboard

    print(dashboard(**options))
    return 0


if __name__ == "__main__":
    command()
