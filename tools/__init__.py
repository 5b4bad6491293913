"""Development tools of this project, run by `make`."""
