"""Who may do what, and how much of it: accounts, visitors, turns, limits. Knows no page, no model and no run."""
