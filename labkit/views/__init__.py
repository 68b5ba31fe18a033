"""Pictures of what happened: each room has its own module, and none of them loads pyplot."""
