"""What several commands share: the RUN argument, --json, facts about an endpoint."""
