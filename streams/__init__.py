"""The verbs: pure functions of (state, input, time). No clock, no socket, no Kafka, no randomness: those are `agents`' and come in as arguments."""
