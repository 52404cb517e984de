"""Sources: how a vendor's deliveries are told to be genuine, and what of `feeds.*` they become. Declared in YAML."""
