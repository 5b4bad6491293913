"""The page of the sandbox: one view of BigPanda's incidents, the relay, and xMatters' phones, in a browser.

`site` serves the page and its state, `relay_view` reads the relay's part from the local cloud, `sentences` puts its log
lines into sentences, `switches` makes parts fail. Nothing of the relay's library is imported.
"""
