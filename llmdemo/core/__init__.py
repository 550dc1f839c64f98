"""What every package may know: errors, atomic files, event logs, bounded children. Imports nothing of the house."""
