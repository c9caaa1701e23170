"""`make chaos`: things are broken under load, and afterwards the topics alone must show that nobody could tell."""
