"""What a recording says: traces, outcomes, phases, critical paths, comparisons."""
