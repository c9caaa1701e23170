"""The nouns: what is in the topics, the tables and the configuration. No I/O, and no logic beyond saying whether a value is well formed."""
