"""Delivers prompts to the company's webhook, in order for each sponsor, and records what became of each."""
