"""The page behind a prompt's link: a sponsor reads what is asked, and answers it."""
