"""SCIM 2.0: an identity system provisions its users here, and what becomes of them is told to `sources.received`."""
