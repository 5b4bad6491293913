"""HTTP parts that both vendors' stand-ins use: answers, scripted faults, logs of calls, validation of input.

Imports nothing else of the sandbox.
"""
