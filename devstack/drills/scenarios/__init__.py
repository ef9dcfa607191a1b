"""One file for each scenario; ``devstack.drills.scenario`` finds them."""
