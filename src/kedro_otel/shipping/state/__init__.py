"""What a destination has been sent, what waits, and the segments it comes from."""
