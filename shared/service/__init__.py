"""What every service process has: settings with --help, logs, health and metrics over HTTP, a clean start and stop."""
