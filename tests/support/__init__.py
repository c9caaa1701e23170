"""What several tests share: Kafka to test against."""
