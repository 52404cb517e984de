"""What travels between services: ids, times, feed payloads, career events, prompts, gaps, deliveries."""
