"""Tests against a real Kafka: a container where Docker has one, else the embedded broker."""
