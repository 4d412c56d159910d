"""The science of lifelong heterogeneous learning: tasks, data, nets, losses, methods, metrics."""
