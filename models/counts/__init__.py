"""Models that count: no gradient, fitted in seconds from a frame of events."""
