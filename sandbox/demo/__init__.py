"""The stories told with the sandbox: the demo in four acts, each claim checked, and the scripts of `make sandbox`.

May import everything else of the sandbox.
"""
