"""What is open in this process, whose child it is, and when it closes."""
