"""The ways to a sponsor: each renders a letter (pure) and makes one attempt at sending it (thin)."""
