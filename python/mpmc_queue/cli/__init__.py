"""The commands of the command line: `demo` and `bench`."""
