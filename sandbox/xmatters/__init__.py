"""The xMatters stand-in: triggers, OAuth tokens, pages that ring phones, callbacks, and the REST API.

`api.XMatters` puts the parts together, and lists all routes. A signal's way: `triggers`, `workflow` (`flow` reads the
body), `pages`, `notifying`, `callbacks`. Imports `sandbox.http` and `sandbox.clock` only, and nothing of the relay,
which it is there to test.
"""
