"""What the tests bring up and drive: PostgreSQL, the agent, traffic. README.md has the map."""
