"""Failures: the exceptions, and the reasons of failed attempts and of waits. Imports nothing else of the library."""
