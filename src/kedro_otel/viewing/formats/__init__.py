"""A recorded run in the formats of other tools: each module writes one, and reads nothing but the trace."""
