"""The verbs: pure functions of (state, input, time). What has an effect (clock, socket, Kafka, randomness) is for `agents`."""
