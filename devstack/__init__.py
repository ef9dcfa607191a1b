"""The whole system on one machine, for trials, tests and measurements: `make up`, `make demo`."""
