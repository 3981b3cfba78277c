"""What everything rests on: errors, named seeds, files, locks, outages, processes and interruptions."""
