"""The whole system on one machine, for trying, testing and measuring: `make up`, `make demo`."""
