"""Pages of the documentation, shown by `safeloop help TOPIC`."""
