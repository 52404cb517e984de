"""The command line of the project: `python -m deploy.tracker`, a module a subcommand."""
