"""What is measured: each measure is defined once, in words and in code, from facts that the read model holds."""
