"""Decides who is prompted for whom, with which evidence, and where nobody speaks: career-events → prompts, gaps."""
