"""What every node has: the job loop, journal, audit, reports, health, freeze."""
