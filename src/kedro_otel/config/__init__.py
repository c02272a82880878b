"""Settings, consent, destination, and the files and folders in which they are kept."""
