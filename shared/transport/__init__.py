"""How messages leave and enter over HTTP: webhooks, signed by their sender and checked by their receiver."""
