"""What runs the system on one machine: the broker, the table of services, and the processes."""
