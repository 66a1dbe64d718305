"""What every room uses: errors, files, paths, console, randomness, devices, provenance."""
