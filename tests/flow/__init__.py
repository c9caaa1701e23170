"""The whole pipeline in memory: datagrams in, datagrams and events out; no broker, no sleep."""
