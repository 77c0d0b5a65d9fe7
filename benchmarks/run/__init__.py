"""What runs a table: servers and loads in processes of their own, round by round, and what is made of the figures."""
