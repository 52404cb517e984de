"""Projects what happened and what was said into a SQL read model, and answers questions about it over HTTP."""
