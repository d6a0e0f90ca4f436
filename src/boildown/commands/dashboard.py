"""`boildown dashboard`."""

import argparse

from boildown.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser("dashboard", help="compare a project's runs on wandb, as code")
    command.add_argument("--project", required=True, help="of wandb, that the runs are logged to")
    command.add_argument("--entity", help="the user or team that owns it; default: your own")
    command.add_argument("--metric", default="error", help="to compare by; default: error")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make or update the dashboard of a project on wandb."""
    from boildown.report.dashboard import make

    for address in make(args.project, args.entity, args.metric):
        print(address)
