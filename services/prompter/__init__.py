"""Tells sponsors of prompts by the company's policy and channels, and records what became of each."""
