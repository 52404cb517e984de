"""What every service stands on: event contracts, streaming, transport, the demo company. Imports no service."""
