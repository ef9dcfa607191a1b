"""What this project depends on: licences, sources, known vulnerabilities, lists of components."""
