"""Fuzzing: anything at all to the HTTP APIs and to all that reads what others sent. `make fuzz` runs it for long."""
