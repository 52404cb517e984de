"""Tells every partition of the log about promotion cycles and other opportunities, and what time it is."""
