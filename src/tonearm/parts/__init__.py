"""A run whose users are in parts, wherever these are: what is global is summed over them, all else is as it ever is."""
