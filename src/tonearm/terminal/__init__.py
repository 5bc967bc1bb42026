"""What a person sees while a command runs: printing, bars, signals, words."""
