"""The command line ``had``. Nothing heavy is imported before a command runs."""
