"""What a person sees: progress while it runs, tables at the end."""
