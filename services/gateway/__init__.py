"""HTTP in: verifies who sends and whether it is a CloudEvent, and puts it into its `feeds.*` topic as it was sent."""
