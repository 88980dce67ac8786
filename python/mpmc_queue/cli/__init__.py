"""What the command line runs: `demo` and `bench`."""
