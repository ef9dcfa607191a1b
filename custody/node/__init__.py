"""The parts of every node: the job loop, journal, audit, reports, health, freeze."""
